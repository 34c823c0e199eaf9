package licentia

import (
	"encoding/json"
	"time"
)

// State says how a valid license works now.
type State string

const (
	// Invalid is the state of a license that does not work.
	Invalid State = ""
	// Active is within the paid period or the trial.
	Active State = "active"
	// Grace is over, while the vendor still waits for the payment.
	Grace State = "grace"
	// Overdue is over, and everything keeps working: the vendor promised it.
	Overdue State = "overdue"
	// Limited is over, and Features and Limits are what remains.
	Limited State = "limited"
)

const (
	clockLeewaySeconds = 60
	daySeconds         = 86_400
)

// Verdict says whether a license works now, and what it grants. A time that does not exist is zero.
type Verdict struct {
	Valid bool
	State State
	// Code is the reason for every state but Active, such as license_expired; empty while active.
	Code Code
	// Features and Limits are those in effect now: empty when the license is invalid.
	Features []string
	Limits   map[string]int64
	// Plan to UpdatesUntil are from the license, once its signature and claims hold.
	Plan         string
	Trial        bool
	CustomerID   string
	LicenseID    string
	UpdatesUntil time.Time
	// Warn says that the user should be told: the license is over, or is going to be soon.
	Warn bool
	// ChangesAt is when to verify again.
	ChangesAt time.Time
}

// Allows reports whether a feature may be used now.
func (v Verdict) Allows(feature string) bool {
	for _, granted := range v.Features {
		if granted == feature {
			return true
		}
	}
	return false
}

// Limit returns the limit with this name, and whether there is one.
func (v Verdict) Limit(name string) (int64, bool) {
	limit, exists := v.Limits[name]
	return limit, exists
}

// MarshalJSON returns the verdict as every verifier prints it: what does not exist is null, and
// times are epoch seconds.
func (v Verdict) MarshalJSON() ([]byte, error) {
	members := v.members()
	return json.Marshal(members)
}

func (v Verdict) members() map[string]any {
	features, limits := v.Features, v.Limits
	if features == nil {
		features = []string{}
	}
	if limits == nil {
		limits = map[string]int64{}
	}
	members := map[string]any{
		"valid": v.Valid, "state": nil, "code": nil, "features": features, "limits": limits,
		"plan": nil, "trial": nil, "customer_id": nil, "license_id": nil,
		"updates_until": seconds(v.UpdatesUntil), "warn": v.Warn, "changes_at": seconds(v.ChangesAt),
	}
	if v.State != Invalid {
		members["state"] = v.State
	}
	if v.Code != "" {
		members["code"] = v.Code
	}
	if v.LicenseID != "" {
		members["plan"], members["trial"] = v.Plan, v.Trial
		members["customer_id"], members["license_id"] = v.CustomerID, v.LicenseID
	}
	return members
}

func seconds(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return at.Unix()
}

// facts are everything about a verified license from which its verdict at any time follows.
type facts struct {
	claims *claims
	// keysExpire is the end of the key bundle, from which its keys are unknown; nil: never.
	keysExpire *int64
	// earliestPlausibleTime is the time before which the clock counts as rolled back.
	earliestPlausibleTime int64
	isRevoked             bool
	// staleFrom is the time from which the status list is too old: 0 when it is missing; nil: never.
	staleFrom          *int64
	isWrongDevice      bool
	isUpdateNotCovered bool
}

// verdict returns the verdict at a time.
func (f facts) verdict(now int64) Verdict {
	state, reason := f.state(now)
	verdict := newVerdict(f.claims, state, reason)
	changesAt := f.changesAt(state, reason, now)
	if changesAt == nil {
		return verdict
	}
	verdict.ChangesAt = time.Unix(*changesAt, 0).UTC()
	if state == Active {
		// The product of days may exceed 64 bits, so the time until the change is divided.
		days := (*changesAt - now + daySeconds - 1) / daySeconds
		verdict.Warn = days <= f.claims.warnDays
	}
	return verdict
}

// state returns the state and the code: the first rule that fails.
func (f facts) state(now int64) (State, Code) {
	c := f.claims
	remaining := map[string]State{"stop": Invalid, "limited": Limited, "warn": Overdue}[c.onEnd.mode]
	end := c.end()
	switch {
	case f.keysExpire != nil && now >= *f.keysExpire:
		return Invalid, UnknownKey
	case now < c.validFrom():
		return Invalid, NotYetValid
	case now < f.earliestPlausibleTime:
		return Invalid, ClockRolledBack
	case f.isRevoked:
		return Invalid, LicenseRevoked
	case f.staleFrom != nil && now >= *f.staleFrom:
		return Invalid, StaleStatus
	case f.isWrongDevice:
		return Invalid, WrongDevice
	case f.isUpdateNotCovered:
		return Invalid, UpdateNotCovered
	case end != nil && now >= *end:
		return remaining, LicenseExpired
	case now >= c.tokenExpires:
		return remaining, TokenExpired
	case c.licenseExpires != nil && now >= *c.licenseExpires:
		return Grace, LicenseExpired
	default:
		return Active, ""
	}
}

// changesAt returns when valid, state, features or limits change if nothing new is fetched.
func (f facts) changesAt(state State, reason Code, now int64) *int64 {
	switch {
	case reason == NotYetValid:
		validFrom := f.claims.validFrom()
		return &validFrom
	case reason == ClockRolledBack:
		if laterState, _ := f.state(f.earliestPlausibleTime); laterState == Invalid {
			return nil
		}
		return &f.earliestPlausibleTime
	case state != Active && state != Grace:
		return nil
	}
	next := f.claims.tokenExpires
	changes := []*int64{f.claims.licenseExpires, f.claims.end(), f.keysExpire, f.staleFrom}
	for _, change := range changes {
		if change != nil && *change > now && *change < next {
			next = *change
		}
	}
	return &next
}

// newVerdict returns the verdict about claims whose signature holds.
func newVerdict(c *claims, state State, reason Code) Verdict {
	verdict := Verdict{
		Valid:      state != Invalid,
		State:      state,
		Code:       reason,
		Plan:       c.plan,
		Trial:      c.trial,
		CustomerID: c.customerID,
		LicenseID:  c.licenseID,
		Warn:       state != Invalid && state != Active,
	}
	if c.updatesUntil != nil {
		verdict.UpdatesUntil = time.Unix(*c.updatesUntil, 0).UTC()
	}
	switch state {
	case Invalid:
	case Limited:
		verdict.Features, verdict.Limits = c.onEnd.features, c.onEnd.limits
	default:
		verdict.Features, verdict.Limits = c.features, c.limits
	}
	return verdict
}

// validFrom returns the time from which a license is accepted, with the leeway for clocks that are behind.
func (c *claims) validFrom() int64 {
	return later(c.notBefore, c.issuedAt) - clockLeewaySeconds
}

// end returns the end of the license, the grace period included; nil: forever.
func (c *claims) end() *int64 {
	if c.licenseExpires == nil || c.graceUntil == nil {
		return c.licenseExpires
	}
	end := later(*c.licenseExpires, *c.graceUntil)
	return &end
}
