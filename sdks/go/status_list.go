package licentia

import (
	"bytes"
	"compress/zlib"
	"io"
)

// maxListBytes is the size of an inflated list: 2^20 bits.
const maxListBytes = 1 << 20 / 8

// statusList is a status list with a valid signature (draft-ietf-oauth-status-list-21). Its age is
// the app's choice, so its exp plays no part.
type statusList struct {
	text     string
	issuedAt int64
	bits     []byte
}

// has reports whether the list has this index.
func (l *statusList) has(index int64) bool {
	return index < 8*int64(len(l.bits))
}

// isRevoked reports whether the bit of this index is set.
func (l *statusList) isRevoked(index int64) bool {
	return l.has(index) && l.bits[index/8]>>(index%8)&1 == 1
}

// readStatusList returns the status list with this URI; nil if it fails.
func readStatusList(text string, keys keySet, uri string) *statusList {
	cleaned := cleanText(text)
	if len(cleaned) > maxStatusBytes {
		return nil
	}
	document, err := parseSigned(cleaned, statusType)
	if err != nil {
		return nil
	}
	signer, err := keys.signer(document)
	if err != nil {
		return nil
	}
	members, err := document.claims()
	if err != nil || members["sub"] != uri {
		return nil
	}
	list := parseStatusList(members)
	if list == nil || !signer.wasInUse(list.issuedAt) {
		return nil
	}
	list.text = cleaned
	return list
}

// parseStatusList returns the list with these claims; nil if one has a wrong value.
func parseStatusList(members jsonObject) *statusList {
	reader := claimReader{isValid: true}
	list := &statusList{issuedAt: reader.time(members, "iat")}
	if has(members, "exp") {
		reader.time(members, "exp")
	}
	if has(members, "ttl") {
		reader.number(members, "ttl")
	}
	content := reader.object(members, "status_list")
	reader.check(reader.number(content, "bits") == 1)
	compressed, err := fromBase64URL(reader.text(content, "lst"))
	if err != nil || !reader.isValid {
		return nil
	}
	list.bits, err = inflate(compressed)
	if err != nil {
		return nil
	}
	return list
}

// inflate returns the content of a zlib stream. It stops as soon as more than the allowed size
// comes out.
func inflate(compressed []byte) ([]byte, error) {
	source := bytes.NewReader(compressed)
	stream, err := zlib.NewReader(source)
	if err != nil {
		return nil, err
	}
	bits, err := io.ReadAll(io.LimitReader(stream, maxListBytes+1))
	if err != nil {
		return nil, err
	}
	if len(bits) > maxListBytes || source.Len() > 0 {
		return nil, errUnreadable
	}
	return bits, nil
}
