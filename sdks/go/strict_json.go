package licentia

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const maxDepth = 64

type (
	jsonObject = map[string]any
	jsonNumber = json.Number
)

// readObject returns a JSON object. It is strict, because two parsers that read a signed document
// differently give it two meanings: UTF-8, no lone surrogates, no repeated members, no more than 64
// levels. encoding/json alone accepts all of these.
func readObject(data []byte) (jsonObject, error) {
	if !utf8.Valid(data) || !json.Valid(data) || hasLoneSurrogate(data) {
		return nil, errUnreadable
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	value, err := readValue(decoder, 0)
	if err != nil {
		return nil, err
	}
	object, isObject := value.(jsonObject)
	if !isObject {
		return nil, errUnreadable
	}
	return object, nil
}

func readValue(decoder *json.Decoder, depth int) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	delimiter, isDelimiter := token.(json.Delim)
	if !isDelimiter {
		return token, nil
	}
	if depth == maxDepth {
		return nil, errUnreadable
	}
	var value any
	if delimiter == '{' {
		value, err = readMembers(decoder, depth+1)
	} else {
		value, err = readElements(decoder, depth+1)
	}
	if err != nil {
		return nil, err
	}
	_, err = decoder.Token() // the closing delimiter
	return value, err
}

func readMembers(decoder *json.Decoder, depth int) (jsonObject, error) {
	members := jsonObject{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		name, isString := token.(string)
		if _, isRepeated := members[name]; isRepeated || !isString {
			return nil, errUnreadable
		}
		if members[name], err = readValue(decoder, depth); err != nil {
			return nil, err
		}
	}
	return members, nil
}

func readElements(decoder *json.Decoder, depth int) ([]any, error) {
	elements := []any{}
	for decoder.More() {
		element, err := readValue(decoder, depth)
		if err != nil {
			return nil, err
		}
		elements = append(elements, element)
	}
	return elements, nil
}

// hasLoneSurrogate reports whether a \u escape is half of a pair. The data is valid JSON, so a
// backslash always begins an escape.
func hasLoneSurrogate(data []byte) bool {
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		unit, isUnicode := escapedUnit(data[i:])
		if !isUnicode {
			i++
			continue
		}
		i += 5
		if !utf16.IsSurrogate(unit) {
			continue
		}
		next, _ := escapedUnit(data[i+1:])
		if utf16.DecodeRune(unit, next) == utf8.RuneError {
			return true
		}
		i += 6
	}
	return false
}

func escapedUnit(data []byte) (rune, bool) {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(data[2:6]), 16, 16)
	return rune(unit), err == nil
}
