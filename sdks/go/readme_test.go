package licentia

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTheCodeInTheReadmeRuns builds the files in the README, and runs them against a server on this
// machine.
func TestTheCodeInTheReadmeRuns(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	server, folder := newServer(t), t.TempDir()
	blocks := readmeBlocks(t, string(text))
	if len(blocks) != 3 {
		t.Fatalf("the README has %d blocks", len(blocks))
	}
	for i, block := range blocks {
		block = strings.ReplaceAll(block, "https://licenses.acme.example", server.URL)
		write(t, filepath.Join(folder, fmt.Sprintf("block%d.go", i)), block)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	module := "module app\n\ngo 1.19\n\nrequire licentia.example/go v0.1.0\n\n"
	write(t, filepath.Join(folder, "go.mod"), module+"replace licentia.example/go => "+here+"\n")

	now := time.Now().Unix()
	uri := server.URL + statusPath
	times := object{
		"iat": now - 60, "nbf": now - 60, "exp": now + testDay, "license_expires": nil,
		"grace_until": nil, "status": object{"status_list": object{"idx": 7, "uri": uri}},
	}
	license, keys := licenseBy(firstKey, times), bundleWith(object{"iat": now})
	times["plan"] = "enterprise"
	upgraded := string(encode(object{"token": licenseBy(firstKey, times), "keys": keys}))
	server.set(refreshPath, sends(200, upgraded))
	server.set(statusPath, sends(200, listWith(1, object{"sub": uri, "iat": now})))
	file := string(encode(object{"license": license, "keys": keys}))
	write(t, filepath.Join(folder, "usb-stick", "license.json"), file)
	newer := bundleWith(object{"iat": now, "seq": 2})
	write(t, filepath.Join(folder, "usb-stick", "license-keys.jwt"), newer)
	former := listWith(7, object{"sub": uri + "0", "iat": now + 1})
	write(t, filepath.Join(folder, "usb-stick", "license-status-1.jwt"), former)
	revoked := listWith(7, object{"sub": uri, "iat": now + 1})
	write(t, filepath.Join(folder, "usb-stick", "license-status-2.jwt"), revoked)

	program := filepath.Join(folder, "app")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = folder
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, entered := range []string{
		file, file[:100] + "\n  " + file[100:], filepath.Join("usb-stick", "license.json"),
	} {
		home := t.TempDir()
		command := exec.Command(program)
		command.Dir = folder
		command.Env = append(os.Environ(), "HOME="+home, "USERPROFILE="+home)
		command.Stdin = strings.NewReader(entered + "\n\n")
		output, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		for _, line := range []string{
			"Paste your license, or the name of license.json",
			"Export: true Seats: 5",
			"Thank you! Your plan is enterprise",
			"Imported: false revoked <nil>",
			`"code":"revoked"`,
		} {
			if !strings.Contains(string(output), line) {
				t.Errorf("%q is not in\n%s", line, output)
			}
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
