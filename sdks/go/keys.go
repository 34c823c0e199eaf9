package licentia

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
)

// backdatingSeconds is how long before the time of signing the server sets iat and nbf.
const backdatingSeconds = 60

// key is a usable public key, and the time during which it signs.
type key struct {
	public    []byte
	notBefore int64
	expires   *int64
}

// wasInUse reports whether a document with this iat was signed during the key's time.
func (k key) wasInUse(issuedAt int64) bool {
	if issuedAt+backdatingSeconds < k.notBefore {
		return false
	}
	return k.expires == nil || issuedAt < *k.expires
}

// keySet has the usable keys by kid, and the kids that the root has revoked.
type keySet struct {
	keys    map[string]key
	revoked map[string]bool
}

// signer returns the key that signed a document, or the code of the rule that fails.
func (s keySet) signer(document *signedDocument) (key, error) {
	if s.revoked[document.kid] {
		return key{}, KeyRevoked
	}
	signer, isKnown := s.keys[document.kid]
	if !isKnown {
		return key{}, UnknownKey
	}
	if !isSignatureValid(signer.public, document.message, document.signature) {
		return key{}, BadSignature
	}
	return signer, nil
}

// bundle is a key bundle that the root has signed. It counts until expires.
type bundle struct {
	text     string
	seq      int64
	issuedAt int64
	expires  *int64
	keySet   keySet
}

// root is the key that signs key bundles, and nothing else.
type root struct {
	kid    string
	public []byte
}

// readBundle returns a key bundle; nil if it is not usable, expired or older than lowestSeq.
func (r *root) readBundle(text string, now, lowestSeq int64) *bundle {
	cleaned := cleanText(text)
	if len(cleaned) > maxKeysBytes {
		return nil
	}
	document, err := parseSigned(cleaned, keysType)
	if err != nil {
		return nil
	}
	rootOnly := keySet{keys: map[string]key{r.kid: {public: r.public}}}
	if _, err := rootOnly.signer(document); err != nil {
		return nil
	}
	members, err := document.claims()
	if err != nil {
		return nil
	}
	found := r.parseBundle(members)
	if found == nil || found.seq < lowestSeq || (found.expires != nil && now >= *found.expires) {
		return nil
	}
	found.text = cleaned
	return found
}

// parseBundle returns the bundle with these claims; nil if one has a wrong value.
func (r *root) parseBundle(members jsonObject) *bundle {
	reader := claimReader{isValid: true}
	reader.name(members, "iss")
	found := &bundle{
		seq:      reader.number(members, "seq"),
		issuedAt: reader.time(members, "iat"),
		expires:  reader.timeOrNull(members, "exp"),
		keySet:   keySet{keys: map[string]key{}, revoked: map[string]bool{}},
	}
	entries, isArray := members["keys"].([]any)
	reader.check(isArray)
	for _, entry := range entries {
		kid, bundled := bundledKey(entry)
		// The root signs bundles only, also when a bundle lists it as a key.
		if bundled == nil || bytes.Equal(bundled.public, r.public) {
			continue
		}
		_, isRepeated := found.keySet.keys[kid]
		reader.check(!isRepeated)
		found.keySet.keys[kid] = *bundled
	}
	revoked, isArray := members["revoked"].([]any)
	reader.check(isArray)
	for _, element := range revoked {
		kid, isString := element.(string)
		reader.check(isString)
		found.keySet.revoked[kid] = true
	}
	if !reader.isValid {
		return nil
	}
	return found
}

// bundledKey returns a key of a bundle with its kid; nil if it counts as absent.
func bundledKey(entry any) (string, *key) {
	jwk := ed25519JWK(entry)
	public := publicKey(jwk)
	if public == nil || has(jwk, "d") {
		return "", nil
	}
	reader := claimReader{isValid: true}
	kid := reader.name(jwk, "kid")
	found := key{public, reader.time(jwk, "nbf"), reader.timeOrNull(jwk, "exp")}
	if !reader.isValid {
		return "", nil
	}
	return kid, &found
}

// parseJWKS returns the keys of a JWKS. Unusable keys and those of other types are left out.
func parseJWKS(text []byte) (*keySet, error) {
	members, err := trustedObject(text)
	if err != nil {
		return nil, err
	}
	entries, isArray := members["keys"].([]any)
	if !isArray {
		return nil, errors.New(`licentia: the key set has no array "keys"`)
	}
	keys := map[string]key{}
	for _, entry := range entries {
		jwk := ed25519JWK(entry)
		if has(jwk, "d") {
			return nil, errors.New(`licentia: the key set has a private key ("d")`)
		}
		public := publicKey(jwk)
		kid, _ := jwk["kid"].(string)
		if public == nil || kid == "" {
			continue
		}
		if _, isRepeated := keys[kid]; isRepeated {
			return nil, fmt.Errorf("licentia: the key set has the kid %q twice", kid)
		}
		keys[kid] = key{public: public}
	}
	if len(keys) == 0 {
		return nil, errors.New("licentia: the key set has no usable Ed25519 key")
	}
	return &keySet{keys: keys}, nil
}

// parseRoot returns the root key of its JWK.
func parseRoot(text []byte) (*root, error) {
	members, err := trustedObject(text)
	if err != nil {
		return nil, err
	}
	if has(members, "d") {
		return nil, errors.New(`licentia: the root is a private key ("d"); pin the public one`)
	}
	public := publicKey(ed25519JWK(members))
	if public == nil {
		return nil, errors.New("licentia: the root is not a usable Ed25519 key")
	}
	kid := Thumbprint(public)
	if has(members, "kid") {
		kid, _ = members["kid"].(string)
	}
	if kid == "" {
		return nil, errors.New("licentia: the kid of the root is not a text")
	}
	return &root{kid, public}, nil
}

// Thumbprint returns the RFC 7638 thumbprint of an Ed25519 public key: the kid of a signing key,
// and the device of a license that is bound to a device.
func Thumbprint(public []byte) string {
	canonical := `{"crv":"Ed25519","kty":"OKP","x":"` + toBase64URL(public) + `"}`
	digest := sha256.Sum256([]byte(canonical))
	return toBase64URL(digest[:])
}

func trustedObject(text []byte) (jsonObject, error) {
	if len(text) > maxKeysBytes {
		return nil, fmt.Errorf("licentia: the trusted key is longer than %d bytes", maxKeysBytes)
	}
	members, err := readObject(text)
	if err != nil {
		return nil, errors.New("licentia: the trusted key is not a strict JSON object")
	}
	return members, nil
}

// ed25519JWK returns the members of a JWK if it is an Ed25519 key, otherwise nil.
func ed25519JWK(entry any) jsonObject {
	jwk, _ := entry.(jsonObject)
	if jwk["kty"] != "OKP" || jwk["crv"] != "Ed25519" {
		return nil
	}
	return jwk
}

// publicKey returns the bytes of an Ed25519 JWK if it is usable for signatures, otherwise nil.
func publicKey(jwk jsonObject) []byte {
	if has(jwk, "alg") && !isAlgorithm(jwk["alg"]) {
		return nil
	}
	if has(jwk, "use") && jwk["use"] != "sig" {
		return nil
	}
	encoded, _ := jwk["x"].(string)
	public, err := fromBase64URL(encoded)
	if err != nil || !isUsableKey(public) {
		return nil
	}
	return public
}
