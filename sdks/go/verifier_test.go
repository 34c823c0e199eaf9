package licentia

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEveryVectorHasTheExpectedVerdict(t *testing.T) {
	folder := os.Getenv("LICENTIA_VECTORS")
	if folder == "" {
		folder = filepath.Join("..", "..", "verify", "vectors")
	}
	if files, _ := filepath.Glob(filepath.Join(folder, "*.json")); len(files) == 0 {
		t.Skipf("%s has no vectors", folder)
	}
	count, err := RunVectors(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d cases", count)
}

func TestAVerdictHasTheMembersThatEveryVerifierPrints(t *testing.T) {
	verdict, _ := verify(t, Input{License: licenseBy(firstKey, nil)})
	expected := `{"changes_at":1801209600,"code":null,"customer_id":"cust_1",` +
		`"features":["editor","export"],"license_id":"lic_1","limits":{"seats":5},` +
		`"plan":"professional","state":"active","trial":false,"updates_until":null,` +
		`"valid":true,"warn":false}`
	if text := string(encode(verdict)); text != expected {
		t.Errorf("got %s", text)
	}
	invalid := `{"changes_at":null,"code":"malformed","customer_id":null,"features":[],` +
		`"license_id":null,"limits":{},"plan":null,"state":null,"trial":null,` +
		`"updates_until":null,"valid":false,"warn":false}`
	verdict, _ = verify(t, Input{})
	if text := string(encode(verdict)); text != invalid {
		t.Errorf("got %s", text)
	}
	if verdict.Allows("export") {
		t.Error("an invalid license grants nothing")
	}
}

func TestOptionsAreConditions(t *testing.T) {
	bound := licenseBy(firstKey, object{
		"cnf": object{"jkt": "device"}, "updates_until": testNow,
	})
	list := listWith(1, nil)
	for _, c := range []struct {
		code    Code
		options []Option
	}{
		{"wrong_device", nil},
		{"", []Option{Device("device")}},
		{"", []Option{Device("device"), Build(time.Unix(testNow, 0))}},
		{"update_not_covered", []Option{Device("device"), Build(time.Unix(testNow+1, 0))}},
		{"wrong_issuer", []Option{Issuer("https://other.example")}},
		{"", []Option{Device("device"), MaxStatusAge(time.Minute)}},
		{"stale_status", []Option{Device("device"), MaxStatusAge(59 * time.Second)}},
	} {
		verdict, _ := verify(t, Input{License: bound, Status: list}, c.options...)
		if verdict.Code != c.code {
			t.Errorf("expected %q, got %q", c.code, verdict.Code)
		}
	}
}

func TestUnusableTrustIsAnError(t *testing.T) {
	private := string(encode(rootKey.jwk(object{"d": "x"})))
	neutral := `{"kty":"OKP","crv":"Ed25519","kid":"k","x":"AQ` + strings.Repeat("A", 41) + `"}`
	twice := string(encode(object{"keys": []any{firstKey.jwk(nil), firstKey.jwk(nil)}}))
	for _, trust := range []Trust{
		nil, Root(""), Root(private), Root(neutral), Root(`{"kty":"RSA"}`),
		KeySet(`{"keys":[]}`), KeySet(`{}`), KeySet(twice), KeySet(`{"keys":[` + private + `]}`),
	} {
		if _, err := New("acme-app", trust); err == nil {
			t.Error("an unusable trust was accepted")
		}
	}
	if _, err := New("", Root(string(encode(rootKey.jwk(nil))))); err == nil {
		t.Error("an empty audience was accepted")
	}
}

func TestASignatureWithANeutralRIsRefused(t *testing.T) {
	// With R neutral and S = k * a, the equation holds. crypto/ed25519 accepts it.
	digest := sha512.Sum512(firstKey.private.Seed())
	digest[0] &= 248
	digest[31] = digest[31]&127 | 64
	message := []byte("text")
	r := append([]byte{1}, make([]byte, 31)...)
	order, _ := new(big.Int).SetString(
		"7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	hash := sha512.Sum512(bytes.Join([][]byte{r, firstKey.public, message}, nil))
	k := new(big.Int).Mod(littleEndian(hash[:]), order)
	s := k.Mul(k, littleEndian(digest[:32])).Mod(k, order)
	forged := append(r, reversed(s.FillBytes(make([]byte, 32)))...)
	if isSignatureValid(firstKey.public, message, forged) {
		t.Error("the forged signature was accepted")
	}
}

func littleEndian(data []byte) *big.Int {
	return new(big.Int).SetBytes(reversed(data))
}

func reversed(data []byte) []byte {
	result := make([]byte, len(data))
	for i, b := range data {
		result[len(data)-1-i] = b
	}
	return result
}

func TestAListThatInflatesTooFarIsRefusedWhileInflating(t *testing.T) {
	bomb := compress(make([]byte, 1<<26))
	allocated := testing.AllocsPerRun(1, func() {
		if _, err := inflate(bomb); err == nil {
			t.Error("the bomb was accepted")
		}
	})
	t.Logf("%v allocations", allocated)
	if _, err := inflate(compress(make([]byte, maxListBytes))); err != nil {
		t.Error(err)
	}
}

func TestRunLinesGoesOnAfterALineThatIsNoCase(t *testing.T) {
	good := encode(object{
		"name": "a", "trust": object{"root": rootKey.jwk(nil)}, "audience": "acme-app",
		"license": licenseBy(firstKey, nil), "keys": bundleWith(nil), "now": testNow,
	})
	misuse := `{"now":1,"trust":{},"audience":""}`
	lines := strings.Join([]string{"x", "{}", string(good), misuse}, "\n")
	var output strings.Builder
	if err := RunLines(strings.NewReader(lines), &output); err != nil {
		t.Fatal(err)
	}
	results := strings.Split(strings.TrimSpace(output.String()), "\n")
	if len(results) != 4 || strings.Contains(results[2], "error") {
		t.Errorf("got %q", results)
	}
	for _, index := range []int{0, 1, 3} {
		if !strings.HasPrefix(results[index], `{"error":`) {
			t.Errorf("got %s", results[index])
		}
	}
}

func TestMessagesSayWhatToDo(t *testing.T) {
	at := time.Unix(1_797_218_715, 0)
	for text, verdict := range map[string]Verdict{
		"":                        {State: Active},
		"by 2026-12-14":           {State: Active, Warn: true, ChangesAt: at},
		"works until 2026-12-14":  {State: Grace, Code: "license_expired", ChangesAt: at},
		"Everything keeps":        {State: Overdue, Code: "license_expired"},
		"features are off until":  {State: Limited, Code: "token_expired"},
		"clock":                   {Code: "clock_rolled_back"},
		"revoked":                 {Code: "key_revoked"},
		"no valid license":        {Code: "bad_signature"},
		"versions until 2026-12-": {Code: "update_not_covered", UpdatesUntil: at},
	} {
		if message := Message(verdict); !strings.Contains(message, text) || text == "" && message != "" {
			t.Errorf("expected %q in %q", text, message)
		}
	}
}

// FuzzVerify checks that no text causes a panic or a memory that cannot be read again.
func FuzzVerify(f *testing.F) {
	f.Add(licenseBy(firstKey, nil), bundleWith(nil), listWith(7, nil), newMemory().text())
	f.Add("{\"license\":\"\"}", "„x“", "\\ud800", "{\"v\":1}")
	verifier := newVerifier(f)
	f.Fuzz(func(t *testing.T, license, keys, status, memory string) {
		input := Input{license, keys, status, memory, time.Unix(testNow, 0)}
		verdict, text := verifier.Verify(input)
		if !json.Valid([]byte(text)) || readMemory(text).text() != text {
			t.Errorf("the memory is not readable: %s", text)
		}
		if verdict.Valid && verdict.LicenseID != "lic_1" {
			t.Error("a license was forged")
		}
	})
}

func BenchmarkSignature(b *testing.B) {
	message := make([]byte, 600)
	signature := ed25519.Sign(firstKey.private, message)
	public := firstKey.public
	for i := 0; i < b.N; i++ {
		ed25519.Verify(public, message, signature)
	}
}

func BenchmarkLicense(b *testing.B) {
	verifier, err := New("acme-app", KeySet(string(encode(object{"keys": []object{firstKey.jwk(nil)}}))))
	if err != nil {
		b.Fatal(err)
	}
	input := Input{License: licenseBy(firstKey, nil), Now: time.Unix(testNow, 0)}
	for i := 0; i < b.N; i++ {
		verifier.Verify(input)
	}
}

func BenchmarkLicenseAndBundle(b *testing.B) {
	verifier := newVerifier(b)
	input := Input{
		License: licenseBy(firstKey, nil), Keys: bundleWith(nil), Now: time.Unix(testNow, 0),
	}
	for i := 0; i < b.N; i++ {
		verifier.Verify(input)
	}
}
