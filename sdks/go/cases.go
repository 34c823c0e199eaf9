package licentia

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"time"
)

// testCase is a case of the test vectors. Its steps inherit its members.
type testCase map[string]json.RawMessage

// RunVectors runs every *.json of a folder of test vectors. It returns the number of cases, or the
// first difference.
func RunVectors(folder string) (int, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return 0, err
	}
	if len(files) == 0 {
		return 0, fmt.Errorf("%s has no *.json", folder)
	}
	sort.Strings(files)
	total := 0
	for _, file := range files {
		count, err := runFile(file)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		total += count
	}
	return total, nil
}

// RunLines reads a case from each line and prints its verdict as a line.
func RunLines(input io.Reader, output io.Writer) error {
	reader := bufio.NewReader(input)
	for {
		line, err := reader.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			if err := printLine(line, output); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func printLine(line []byte, output io.Writer) error {
	var c testCase
	var result any
	err := json.Unmarshal(line, &c)
	if err == nil {
		result, err = c.evaluate()
	}
	if err != nil {
		result = map[string]string{"error": err.Error()}
	}
	return json.NewEncoder(output).Encode(result)
}

func runFile(file string) (int, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var cases []testCase
	if err := json.Unmarshal(content, &cases); err != nil {
		var document struct{ Cases []testCase }
		if err := json.Unmarshal(content, &document); err != nil {
			return 0, err
		}
		cases = document.Cases
	}
	for _, c := range cases {
		if err := c.check(); err != nil {
			return 0, fmt.Errorf("%s: %w", c["name"], err)
		}
	}
	return len(cases), nil
}

// check compares a case, or each of its steps, with what it expects.
func (c testCase) check() error {
	steps, isSequence, err := c.steps()
	if err != nil {
		return err
	}
	memory := c["memory"]
	for number, step := range steps {
		result, err := step.evaluateOne(memory, isSequence)
		if err != nil {
			return err
		}
		if err := compare(step["expect"], result); err != nil {
			return fmt.Errorf("step %d: %w", number+1, err)
		}
		memory = result.memory()
	}
	return nil
}

// evaluate returns the members of the verdict and the memory, or those of each step.
func (c testCase) evaluate() (any, error) {
	steps, isSequence, err := c.steps()
	if err != nil {
		return nil, err
	}
	memory := c["memory"]
	var results []caseResult
	for _, step := range steps {
		result, err := step.evaluateOne(memory, isSequence)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
		memory = result.memory()
	}
	if !isSequence {
		return results[0], nil
	}
	return map[string]any{"steps": results}, nil
}

// steps returns the steps with the members that they inherit; the case itself if it has none.
func (c testCase) steps() ([]testCase, bool, error) {
	text, isSequence := c["steps"]
	if !isSequence {
		return []testCase{c}, false, nil
	}
	var steps []testCase
	if err := json.Unmarshal(text, &steps); err != nil {
		return nil, false, err
	}
	for _, step := range steps {
		for name, value := range c {
			isInherited := name != "steps" && name != "memory" && name != "expect"
			if _, isOwn := step[name]; !isOwn && isInherited {
				step[name] = value
			}
		}
	}
	return steps, true, nil
}

type caseResult map[string]any

func (r caseResult) memory() json.RawMessage {
	text, _ := json.Marshal(r["memory"])
	return text
}

// evaluateOne returns the verdict about a case. A step without its own memory has the one before.
func (c testCase) evaluateOne(memory json.RawMessage, isStep bool) (caseResult, error) {
	var parsed struct {
		Trust        struct{ JWKS, Root json.RawMessage }
		Audience     string
		Issuer       *string
		License      string
		Keys         string
		Status       string
		MaxStatusAge *int64 `json:"max_status_age"`
		Memory       string
		Build        *int64
		Device       string
		Now          *int64
	}
	if own, isOwn := c["memory"]; isOwn || !isStep {
		memory = own
	}
	all := testCase{}
	for name, value := range c {
		all[name] = value
	}
	if memory != nil {
		all["memory"] = memory
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &parsed); err != nil {
		return nil, err
	}
	if parsed.Now == nil {
		return nil, errors.New("this is not a case")
	}
	var trust Trust
	if parsed.Trust.Root != nil {
		trust = Root(string(parsed.Trust.Root))
	} else {
		trust = KeySet(string(parsed.Trust.JWKS))
	}
	verifier, err := New(parsed.Audience, trust, Device(parsed.Device))
	if err != nil {
		return nil, err
	}
	// These are set directly: a time.Duration cannot hold every number of seconds.
	verifier.issuer, verifier.build = parsed.Issuer, parsed.Build
	verifier.maxStatusAge = parsed.MaxStatusAge
	verdict, memoryText := verifier.Verify(Input{
		License: parsed.License,
		Keys:    parsed.Keys,
		Status:  parsed.Status,
		Memory:  parsed.Memory,
		Now:     time.Unix(*parsed.Now, 0),
	})
	result := caseResult(verdict.members())
	result["memory"] = memoryText
	return result, nil
}

// compare returns the first expected member that differs.
func compare(expect json.RawMessage, result caseResult) error {
	expected := map[string]any{}
	if expect != nil {
		if err := unmarshal(expect, &expected); err != nil {
			return err
		}
	}
	text, err := json.Marshal(result)
	if err != nil {
		return err
	}
	var got map[string]any
	if err := unmarshal(text, &got); err != nil {
		return err
	}
	var memory any
	if err := unmarshal([]byte(result["memory"].(string)), &memory); err != nil {
		return err
	}
	got["memory"] = memory
	for name, value := range expected {
		if !reflect.DeepEqual(got[name], value) {
			return fmt.Errorf("%s: expected %v, got %v", name, value, got[name])
		}
	}
	return nil
}

// unmarshal keeps numbers as they are written.
func unmarshal(text []byte, target any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(target)
}
