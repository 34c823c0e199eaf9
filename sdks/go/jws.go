package licentia

import "strings"

const (
	licenseType = "license+jwt"
	keysType    = "license-keys+jwt"
	statusType  = "statuslist+jwt"
)

// code is the reason for a verdict, such as bad_signature. It is an error within this package.
type code string

func (c code) Error() string { return string(c) }

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
		return nil, code("malformed")
	}
	var decoded [3][]byte
	for i, part := range parts {
		bytes, err := fromBase64URL(part)
		if err != nil {
			return nil, code("malformed")
		}
		decoded[i] = bytes
	}
	header, err := readObject(decoded[0])
	if err != nil {
		return nil, code("malformed")
	}
	if typ, _ := header["typ"].(string); asciiLower(typ) != expectedType {
		return nil, code("wrong_type")
	}
	if _, isCritical := header["crit"]; isCritical {
		return nil, code("critical_header")
	}
	if !isAlgorithm(header["alg"]) {
		return nil, code("unsupported_algorithm")
	}
	kid, isString := header["kid"].(string)
	if !isString {
		return nil, code("malformed")
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
		return nil, code("malformed")
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
