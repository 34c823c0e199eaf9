package licentia

import "strings"

const (
	licenseType = "license+jwt"
	keysType    = "license-keys+jwt"
	statusType  = "statuslist+jwt"
)

// Code is the reason for a verdict. It is an error within this package.
type Code string

// The codes, in the order of the rules. The first rule that fails determines the code.
const (
	TooLarge             Code = "too_large"
	Malformed            Code = "malformed"
	WrongType            Code = "wrong_type"
	CriticalHeader       Code = "critical_header"
	UnsupportedAlgorithm Code = "unsupported_algorithm"
	KeyRevoked           Code = "key_revoked"
	UnknownKey           Code = "unknown_key"
	BadSignature         Code = "bad_signature"
	UnsupportedVersion   Code = "unsupported_version"
	InvalidClaims        Code = "invalid_claims"
	KeyNotValid          Code = "key_not_valid"
	WrongAudience        Code = "wrong_audience"
	WrongIssuer          Code = "wrong_issuer"
	NotYetValid          Code = "not_yet_valid"
	ClockRolledBack      Code = "clock_rolled_back"
	LicenseRevoked       Code = "revoked"
	StaleStatus          Code = "stale_status"
	WrongDevice          Code = "wrong_device"
	UpdateNotCovered     Code = "update_not_covered"
	LicenseExpired       Code = "license_expired"
	TokenExpired         Code = "token_expired"
)

func (c Code) Error() string { return string(c) }

// signedDocument is a JWS in compact form (RFC 7515) of the expected type. Its signature is not
// verified yet.
type signedDocument struct {
	kid       string
	payload   []byte
	message   []byte
	signature []byte
}

// parseSigned returns the parts of a token, or the code of the first rule that it violates.
func parseSigned(token, expectedType string) (*signedDocument, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, Malformed
	}
	var decoded [3][]byte
	for i, part := range parts {
		bytes, err := fromBase64URL(part)
		if err != nil {
			return nil, Malformed
		}
		decoded[i] = bytes
	}
	header, err := readObject(decoded[0])
	if err != nil {
		return nil, Malformed
	}
	if typ, _ := header["typ"].(string); asciiLower(typ) != expectedType {
		return nil, WrongType
	}
	if _, isCritical := header["crit"]; isCritical {
		return nil, CriticalHeader
	}
	if !isAlgorithm(header["alg"]) {
		return nil, UnsupportedAlgorithm
	}
	kid, isString := header["kid"].(string)
	if !isString {
		return nil, Malformed
	}
	return &signedDocument{
		kid:       kid,
		payload:   decoded[1],
		message:   []byte(token[:strings.LastIndexByte(token, '.')]),
		signature: decoded[2],
	}, nil
}

// claims returns the payload as a JSON object.
func (d *signedDocument) claims() (jsonObject, error) {
	claims, err := readObject(d.payload)
	if err != nil {
		return nil, Malformed
	}
	return claims, nil
}

// isAlgorithm reports whether a value is a name of Ed25519: of RFC 8037 or of RFC 9864.
func isAlgorithm(value any) bool {
	return value == "EdDSA" || value == "Ed25519"
}

// asciiLower lowers only the letters A to Z: strings.ToLower turns the Kelvin sign into a k.
func asciiLower(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}
