package licentia

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Sizes in bytes, measured after cleaning.
const (
	maxLicenseBytes     = 8 * 1024
	maxKeysBytes        = 64 * 1024
	maxStatusBytes      = 256 * 1024
	maxLicenseFileBytes = maxLicenseBytes + maxKeysBytes + maxStatusBytes
)

const (
	// maxNumber is 2^53-1: the largest integer that every JSON parser reads exactly.
	maxNumber = 1<<53 - 1
	// maxTime is 9999-12-31T23:59:59Z.
	maxTime = 253_402_300_799
)

const (
	blanks = " \t\r\n\ufeff\u00a0\u200b"
	quotes = "\"'`“”„‘’«»"
)

var errUnreadable = errors.New("not strict base64url or JSON")

// cleanText returns a text without the blanks and quotes around it, and without its line breaks:
// people copy licenses out of mails.
func cleanText(text string) string {
	text = strings.Trim(text, blanks)
	for pair := 0; pair < 2; pair++ {
		first, firstSize := utf8.DecodeRuneInString(text)
		last, lastSize := utf8.DecodeLastRuneInString(text)
		isPair := len(text) >= firstSize+lastSize &&
			strings.ContainsRune(quotes, first) && strings.ContainsRune(quotes, last)
		if !isPair {
			break
		}
		text = strings.Trim(text[firstSize:len(text)-lastSize], blanks)
	}
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\r' || r == '\n' })
	for i := range lines {
		lines[i] = strings.Trim(lines[i], blanks)
	}
	return strings.Join(lines, "")
}

var strictBase64URL = base64.RawURLEncoding.Strict()

// fromBase64URL returns the bytes of a text without padding and without unused bits.
func fromBase64URL(text string) ([]byte, error) {
	// The decoder of the standard library skips line breaks.
	if strings.ContainsAny(text, "\r\n") {
		return nil, errUnreadable
	}
	return strictBase64URL.DecodeString(text)
}

func toBase64URL(data []byte) string {
	return base64.RawURLEncoding.EncodeToString(data)
}

// wholeNumber returns a JSON value that is a plain whole number from 0 to 2^53-1.
func wholeNumber(value any) (int64, bool) {
	number, isNumber := value.(jsonNumber)
	if !isNumber || len(number) > 16 || strings.Trim(string(number), "0123456789") != "" {
		return 0, false
	}
	whole, err := strconv.ParseInt(string(number), 10, 64)
	return whole, err == nil && whole <= maxNumber
}

// epochSeconds returns a JSON value that is a time between 1970 and 9999.
func epochSeconds(value any) (int64, bool) {
	seconds, ok := wholeNumber(value)
	return seconds, ok && seconds <= maxTime
}
