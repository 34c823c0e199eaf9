package licentia

import (
	"bytes"
	"compress/zlib"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const (
	testNow  = 1_800_000_000
	testDay  = 86_400
	testList = "https://licenses.acme.example/.well-known/license-status/1"
)

type object = map[string]any

// signingKey is derived from a name, so that it is the same in every run.
type signingKey struct {
	private ed25519.PrivateKey
	public  ed25519.PublicKey
	kid     string
}

func newKey(name string) signingKey {
	seed := sha256.Sum256([]byte(name))
	private := ed25519.NewKeyFromSeed(seed[:])
	public := private.Public().(ed25519.PublicKey)
	return signingKey{private, public, Thumbprint(public)}
}

var (
	rootKey  = newKey("root")
	firstKey = newKey("first")
	otherKey = newKey("second")
)

func (k signingKey) jwk(changes object) object {
	jwk := object{"kty": "OKP", "crv": "Ed25519", "x": toBase64URL(k.public), "kid": k.kid}
	return change(jwk, changes)
}

func (k signingKey) sign(typ string, payload []byte) string {
	header := encode(object{"alg": "EdDSA", "typ": typ, "kid": k.kid})
	message := toBase64URL(header) + "." + toBase64URL(payload)
	return message + "." + toBase64URL(ed25519.Sign(k.private, []byte(message)))
}

func change(members, changes object) object {
	for name, value := range changes {
		members[name] = value
	}
	return members
}

func encode(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

// licenseBy returns a license: 30 days are paid for, the token is valid for 14 days.
func licenseBy(k signingKey, changes object) string {
	return k.sign("license+jwt", encode(change(object{
		"iss": "https://licenses.acme.example", "sub": "cust_1", "aud": "acme-app",
		"iat": testNow - 60, "nbf": testNow - 60, "exp": testNow + 14*testDay, "jti": "lic_1",
		"plan": "professional", "trial": false, "features": []string{"editor", "export"},
		"limits": object{"seats": 5}, "license_expires": testNow + 30*testDay,
		"grace_until": testNow + 37*testDay, "seq": 1, "ver": 1,
		"status": object{"status_list": object{"idx": 7, "uri": testList}},
	}, changes)))
}

func bundleWith(changes object) string {
	return rootKey.sign("license-keys+jwt", encode(change(object{
		"iss": "https://licenses.acme.example", "iat": testNow - testDay, "exp": nil, "seq": 1,
		"keys": []any{firstKey.jwk(object{"nbf": 0, "exp": nil})}, "revoked": []string{},
	}, changes)))
}

func listWith(index int, changes object) string {
	bits := make([]byte, 1024)
	bits[index/8] |= 1 << (index % 8)
	return firstKey.sign("statuslist+jwt", encode(change(object{
		"sub": testList, "iat": testNow - 60, "exp": testNow + testDay, "ttl": 3600,
		"status_list": object{"bits": 1, "lst": toBase64URL(compress(bits))},
	}, changes)))
}

func compress(data []byte) []byte {
	var compressed bytes.Buffer
	writer := zlib.NewWriter(&compressed)
	_, _ = writer.Write(data)
	_ = writer.Close()
	return compressed.Bytes()
}

func newVerifier(t testing.TB, options ...Option) *Verifier {
	t.Helper()
	verifier, err := New("acme-app", Root(string(encode(rootKey.jwk(nil)))), options...)
	if err != nil {
		t.Fatal(err)
	}
	return verifier
}

// verify returns the verdict at testNow, with the bundle unless the input has another.
func verify(t testing.TB, input Input, options ...Option) (Verdict, string) {
	t.Helper()
	if input.Keys == "" {
		input.Keys = bundleWith(nil)
	}
	if input.Now.IsZero() {
		input.Now = time.Unix(testNow, 0)
	}
	return newVerifier(t, options...).Verify(input)
}

func readmeBlocks(t *testing.T, text string) []string {
	t.Helper()
	var blocks []string
	for _, part := range strings.Split(text, "```go\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	return blocks
}
