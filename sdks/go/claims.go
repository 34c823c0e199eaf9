package licentia

const claimsVersion = 1

// onEnd is what remains when the license is over, or when its token has run out.
type onEnd struct {
	mode     string // stop, limited or warn
	features []string
	limits   map[string]int64
}

// statusReference is the place of the license in a status list.
type statusReference struct {
	uri   string
	index int64
}

// claims are the claims of a license. Times are epoch seconds; nil means none.
type claims struct {
	issuer         string
	customerID     string
	audience       string
	issuedAt       int64
	notBefore      int64
	tokenExpires   int64
	licenseID      string
	plan           string
	trial          bool
	features       []string
	limits         map[string]int64
	licenseExpires *int64
	graceUntil     *int64
	seq            int64
	updatesUntil   *int64
	onEnd          onEnd
	warnDays       int64
	status         *statusReference
	device         string
}

// parseClaims returns the claims with their types checked, or the code of the rule they violate.
func parseClaims(members jsonObject) (*claims, error) {
	// The version comes first, because the claims of a newer version may have other types.
	version, isNumber := wholeNumber(members["ver"])
	if isNumber && version > claimsVersion {
		return nil, UnsupportedVersion
	}
	r := claimReader{isValid: isNumber && version == claimsVersion}
	c := &claims{
		issuer:         r.name(members, "iss"),
		customerID:     r.name(members, "sub"),
		audience:       r.text(members, "aud"),
		issuedAt:       r.time(members, "iat"),
		notBefore:      r.time(members, "nbf"),
		tokenExpires:   r.time(members, "exp"),
		licenseID:      r.name(members, "jti"),
		plan:           r.text(members, "plan"),
		trial:          r.flag(members, "trial"),
		features:       r.features(members),
		limits:         r.limits(members),
		licenseExpires: r.timeOrNull(members, "license_expires"),
		graceUntil:     r.timeOrNull(members, "grace_until"),
		seq:            r.number(members, "seq"),
		onEnd:          onEnd{mode: "stop"},
	}
	r.optional(members, c)
	if c.licenseExpires == nil && c.graceUntil != nil {
		r.isValid = false
	}
	if !r.isValid {
		return nil, InvalidClaims
	}
	return c, nil
}

// claimReader reads values and notes whether all had their types.
type claimReader struct{ isValid bool }

// optional reads the claims that may be absent. Null is a wrong value for each of them.
func (r *claimReader) optional(members jsonObject, c *claims) {
	if has(members, "updates_until") {
		until := r.time(members, "updates_until")
		c.updatesUntil = &until
	}
	if has(members, "warn_days") {
		c.warnDays = r.number(members, "warn_days")
	}
	if has(members, "on_end") {
		c.onEnd = r.onEnd(r.object(members, "on_end"))
	}
	if has(members, "status") {
		list := r.object(r.object(members, "status"), "status_list")
		c.status = &statusReference{uri: r.name(list, "uri"), index: r.number(list, "idx")}
	}
	if has(members, "cnf") {
		c.device = r.name(r.object(members, "cnf"), "jkt")
	}
}

func (r *claimReader) onEnd(members jsonObject) onEnd {
	end := onEnd{mode: r.text(members, "mode")}
	if end.mode != "stop" && end.mode != "limited" && end.mode != "warn" {
		r.isValid = false
	}
	if has(members, "features") {
		end.features = r.features(members)
	}
	if has(members, "limits") {
		end.limits = r.limits(members)
	}
	return end
}

func (r *claimReader) features(members jsonObject) []string {
	elements, isArray := members["features"].([]any)
	r.check(isArray)
	features := make([]string, len(elements))
	for i, element := range elements {
		feature, isString := element.(string)
		r.check(isString)
		features[i] = feature
	}
	return features
}

func (r *claimReader) limits(members jsonObject) map[string]int64 {
	values := r.object(members, "limits")
	limits := make(map[string]int64, len(values))
	for name := range values {
		limits[name] = r.number(values, name)
	}
	return limits
}

func (r *claimReader) text(members jsonObject, name string) string {
	text, isString := members[name].(string)
	r.check(isString)
	return text
}

// name reads a text that is not empty.
func (r *claimReader) name(members jsonObject, name string) string {
	text := r.text(members, name)
	r.check(text != "")
	return text
}

func (r *claimReader) flag(members jsonObject, name string) bool {
	flag, isBool := members[name].(bool)
	r.check(isBool)
	return flag
}

func (r *claimReader) number(members jsonObject, name string) int64 {
	number, isNumber := wholeNumber(members[name])
	r.check(isNumber)
	return number
}

func (r *claimReader) time(members jsonObject, name string) int64 {
	seconds, isTime := epochSeconds(members[name])
	r.check(isTime)
	return seconds
}

// timeOrNull reads a member that is required.
func (r *claimReader) timeOrNull(members jsonObject, name string) *int64 {
	if has(members, name) && members[name] == nil {
		return nil
	}
	seconds := r.time(members, name)
	return &seconds
}

func (r *claimReader) object(members jsonObject, name string) jsonObject {
	object, isObject := members[name].(jsonObject)
	r.check(isObject)
	return object
}

func (r *claimReader) check(isRight bool) {
	r.isValid = r.isValid && isRight
}

func has(members jsonObject, name string) bool {
	_, isThere := members[name]
	return isThere
}
