package licentia

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"
)

// Verifier verifies the licenses of one product. It does no I/O, and may be used by several
// goroutines.
type Verifier struct {
	audience     string
	root         *root   // either the root
	pinned       *keySet // or a key set
	issuer       *string
	build        *int64
	device       string
	maxStatusAge *int64
}

// Trust is what an app pins: Root or KeySet.
type Trust func(*Verifier) error

// Root is the JWK of the vendor's root key. Its key bundles name the signing keys, so keys can be
// replaced under apps that were shipped years ago.
func Root(jwk string) Trust {
	return func(v *Verifier) (err error) {
		v.root, err = parseRoot([]byte(jwk))
		return err
	}
}

// KeySet is the vendor's JWKS, as the server publishes it under /.well-known/jwks.json. It is the
// simple way; a license by a later key needs an update of the app.
func KeySet(jwks string) Trust {
	return func(v *Verifier) (err error) {
		v.pinned, err = parseJWKS([]byte(jwks))
		return err
	}
}

// Option is a further condition that a Verifier checks.
type Option func(*Verifier)

// Issuer refuses licenses of other servers.
func Issuer(issuer string) Option {
	return func(v *Verifier) { v.issuer = &issuer }
}

// Build is the time at which this build of the app was made. A license with a year of updates does
// not cover later builds.
func Build(at time.Time) Option {
	return func(v *Verifier) {
		build := at.Unix()
		v.build = &build
	}
}

// Device is the RFC 7638 thumbprint of the device's key, for licenses that are bound to a device.
func Device(thumbprint string) Option {
	return func(v *Verifier) { v.device = thumbprint }
}

// MaxStatusAge refuses licenses that name a status list when it is missing or older. A negative age
// counts as 0.
func MaxStatusAge(age time.Duration) Option {
	return func(v *Verifier) {
		seconds := int64(age / time.Second)
		v.maxStatusAge = &seconds
	}
}

// New returns a verifier. The audience is the product in the vendor's plans file. It returns an
// error only if the app itself is wrong: unusable keys, or no product.
func New(audience string, trust Trust, options ...Option) (*Verifier, error) {
	if audience == "" {
		return nil, errors.New("licentia: the audience is empty")
	}
	if trust == nil {
		return nil, errors.New("licentia: pin a root or a key set")
	}
	verifier := &Verifier{audience: audience}
	if err := trust(verifier); err != nil {
		return nil, err
	}
	for _, option := range options {
		option(verifier)
	}
	return verifier, nil
}

// Input has the texts for a verdict. Each may be empty, and each may be anything: none causes an
// error or a panic.
type Input struct {
	// License is a license token, or the text of a license.json.
	License string
	// Keys is a key bundle, and Status a status list. If License has them too, the newer ones count.
	Keys   string
	Status string
	// Memory is what the last verdict returned.
	Memory string
	// Now is the time of the verdict; by default the device's clock.
	Now time.Time
}

// Verify returns the verdict about a license, and the memory to store for the next one.
func (v *Verifier) Verify(input Input) (Verdict, string) {
	result := v.examine(input)
	return result.verdict, result.memory
}

// examination is a verdict, and the newest key bundle and status list that count.
type examination struct {
	verdict Verdict
	memory  string
	license string
	bundle  *bundle
	list    *statusList
	// claims is set once everything holds that does not depend on the time or the device.
	claims *claims
}

// licenseFile returns the text of a license.json with everything that counts.
func (e examination) licenseFile() []byte {
	file := struct {
		License string `json:"license"`
		Keys    string `json:"keys,omitempty"`
		Status  string `json:"status,omitempty"`
	}{License: e.license}
	if e.bundle != nil {
		file.Keys = e.bundle.text
	}
	if e.list != nil {
		file.Status = e.list.text
	}
	text, err := json.MarshalIndent(file, "", " ")
	if err != nil {
		panic(err) // strings can always be encoded
	}
	return text
}

// examine returns the verdict with the best of the bundles and lists in the input and in others.
func (v *Verifier) examine(input Input, others ...companions) examination {
	if input.Now.IsZero() {
		input.Now = time.Now()
	}
	now := later(0, input.Now.Unix())
	if now > maxTime {
		now = maxTime // a memory with a later time could not be read again
	}
	text := readLicenseText(input.License)
	before, after := readMemory(input.Memory), readMemory(input.Memory)
	result := examination{license: text.license}
	keys := keySet{}
	if v.pinned != nil {
		keys = *v.pinned
	}
	given := append([]companions{{input.Keys, input.Status}, text.companions}, others...)
	result.bundle = v.newestBundle(now, before, given)
	if result.bundle != nil {
		keys = result.bundle.keySet
		after.addBundle(result.bundle)
	}
	claims, wasKeyInUse, err := authenticClaims(text, keys)
	if err != nil {
		result.verdict, result.memory = Verdict{Code: Code(err.Error())}, after.text()
		return result
	}
	if mismatch := v.mismatch(claims, wasKeyInUse); mismatch != "" {
		result.verdict, result.memory = newVerdict(claims, Invalid, mismatch), after.text()
		return result
	}
	result.claims = claims
	result.list = newestList(keys, claims, before, given)
	before.heal(claims, now)
	after.Time = later(before.Time, now)
	after.addLicense(claims)
	if result.list != nil {
		after.addList(result.list, *claims.status)
	}
	result.verdict = v.facts(claims, result.bundle, result.list, before).verdict(now)
	result.memory = after.text()
	return result
}

// mismatch returns the code if the license is not one of ours, whatever the time.
func (v *Verifier) mismatch(c *claims, wasKeyInUse bool) Code {
	switch {
	case !wasKeyInUse:
		return "key_not_valid"
	case c.audience != v.audience:
		return "wrong_audience"
	case v.issuer != nil && c.issuer != *v.issuer:
		return "wrong_issuer"
	default:
		return ""
	}
}

func (v *Verifier) facts(c *claims, b *bundle, list *statusList, before memory) facts {
	f := facts{
		claims:                c,
		earliestPlausibleTime: before.earliestPlausibleTime(),
		isWrongDevice:         c.device != "" && c.device != v.device,
		isUpdateNotCovered: c.updatesUntil != nil && v.build != nil &&
			*v.build > *c.updatesUntil,
	}
	if b != nil {
		f.keysExpire = b.expires
	}
	if c.status == nil {
		return f
	}
	if list != nil {
		f.isRevoked = list.isRevoked(c.status.index)
	} else {
		f.isRevoked = before.isRevoked(*c.status)
	}
	if v.maxStatusAge != nil {
		staleFrom := int64(0)
		if list != nil {
			staleFrom = sum(list.issuedAt, sum(later(0, *v.maxStatusAge), 1))
		}
		f.staleFrom = &staleFrom
	}
	return f
}

// newestBundle returns the bundle with the highest seq that counts, the first of equal ones.
func (v *Verifier) newestBundle(now int64, before memory, given []companions) *bundle {
	if v.root == nil {
		return nil
	}
	var newest *bundle
	for _, texts := range given {
		found := v.root.readBundle(texts.keys, now, before.KeysSeq)
		if found != nil && (newest == nil || found.seq > newest.seq) {
			newest = found
		}
	}
	return newest
}

// newestList returns the latest list that counts for a license, the first of equal ones.
func newestList(keys keySet, c *claims, before memory, given []companions) *statusList {
	if c.status == nil {
		return nil
	}
	var newest *statusList
	oldest := before.Lists[c.status.uri].IssuedAt
	for _, texts := range given {
		list := readStatusList(texts.status, keys, c.status.uri)
		if list == nil || list.issuedAt < oldest || !list.has(c.status.index) {
			continue
		}
		if newest == nil || list.issuedAt > newest.issuedAt {
			newest = list
		}
	}
	return newest
}

// authenticClaims returns the claims, and whether their key was in use when they were signed; or
// the code of the first rule that fails. The claims prove nothing then.
func authenticClaims(text licenseText, keys keySet) (*claims, bool, error) {
	if text.problem != "" {
		return nil, false, text.problem
	}
	document, err := parseSigned(text.license, licenseType)
	if err != nil {
		return nil, false, err
	}
	signer, err := keys.signer(document)
	if err != nil {
		return nil, false, err
	}
	members, err := document.claims()
	if err != nil {
		return nil, false, err
	}
	c, err := parseClaims(members)
	if err != nil {
		return nil, false, err
	}
	return c, signer.wasInUse(c.issuedAt), nil
}

// companions are a key bundle and a status list; each may be empty.
type companions struct {
	keys, status string
}

// licenseText is the text of a license, or of a license.json with what travels alongside. The
// problem is too_large or malformed if it is not even a candidate.
type licenseText struct {
	companions
	license string
	problem Code
}

func readLicenseText(text string) licenseText {
	cleaned := cleanText(text)
	if !strings.HasPrefix(cleaned, "{") {
		return licenseText{license: cleaned, problem: sizeProblem(cleaned, maxLicenseBytes)}
	}
	if problem := sizeProblem(cleaned, maxLicenseFileBytes); problem != "" {
		return licenseText{problem: problem}
	}
	members, err := readObject([]byte(cleaned))
	if err != nil {
		return licenseText{problem: "malformed"}
	}
	var parts licenseText
	parts.keys, _ = members["keys"].(string)
	parts.status, _ = members["status"].(string)
	license, isString := members["license"].(string)
	if !isString {
		parts.problem = "malformed"
		return parts
	}
	parts.license = cleanText(license)
	parts.problem = sizeProblem(parts.license, maxLicenseBytes)
	return parts
}

func sizeProblem(text string, limit int) Code {
	if len(text) > limit {
		return "too_large"
	}
	return ""
}

// sum adds numbers that are not negative, without an overflow.
func sum(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
