package licentia

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// These tests are about what is stored: it fits together, whatever happens between two writes.

// restarted returns a client of another process on the same folder.
func (f *fixture) restarted(options ...Option) *Client {
	f.Helper()
	client, err := NewClient(newVerifier(f, options...), f.server.URL, f.folder, Clock(f.client.clock))
	if err != nil {
		f.Fatal(err)
	}
	return client
}

// byNextKey returns a license by the second key, and a bundle that has both keys.
func (f *fixture) byNextKey() (license, newerKeys string) {
	forever := object{"nbf": 0, "exp": nil}
	keys := []any{firstKey.jwk(forever), otherKey.jwk(forever)}
	list := object{"status_list": object{"idx": 7, "uri": f.server.URL + statusPath}}
	license = licenseBy(otherKey, object{"status": list, "plan": "enterprise"})
	return license, bundleWith(object{"seq": 2, "keys": keys})
}

func renews(token, keys string) http.HandlerFunc {
	return sends(200, string(encode(object{"token": token, "keys": keys})))
}

func TestAnAppVerifiesWhileTheListOfARefreshIsUnderWay(t *testing.T) {
	f := newFixture(t)
	license, keys := f.byNextKey()
	f.server.set(refreshPath, renews(license, keys))
	var states []State
	f.server.set(statusPath, func(writer http.ResponseWriter, request *http.Request) {
		states = append(states, f.restarted().Verify().State)
		sends(200, f.list(1))(writer, request)
	})
	if result := f.refresh(); result.Outcome != Renewed {
		t.Errorf("got %+v", result)
	}
	f.install(Input{License: f.token})
	if len(states) != 2 || states[0] != Active || states[1] != Active {
		t.Errorf("got %v", states)
	}
}

func TestAnAppThatIsKilledWhileItStoresWorksOffline(t *testing.T) {
	for renamed := 0; renamed < 3; renamed++ {
		f := newFixture(t)
		license, keys := f.byNextKey()
		f.server.set(refreshPath, renews(license, keys))
		f.server.set(statusPath, sends(200, f.list(1)))
		calls := 0
		f.client.rename = func(from, to string) error {
			if calls++; calls > renamed {
				runtime.Goexit()
			}
			return os.Rename(from, to)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = f.client.Refresh(context.Background())
		}()
		<-done
		if verdict := f.restarted().Verify(); verdict.State != Active {
			t.Errorf("%d files are stored: got %q", renamed, verdict.Code)
		}
		verdict := f.restarted(MaxStatusAge(time.Hour)).Verify()
		if (verdict.Code == "stale_status") != (renamed == 0) {
			t.Errorf("%d files are stored: got %q with a list", renamed, verdict.Code)
		}
	}
}

// TestRefreshingProcess is the other process of the next test.
func TestRefreshingProcess(t *testing.T) {
	server, isSet := os.LookupEnv("LICENTIA_TEST_SERVER")
	if !isSet {
		t.Skip("the next test starts it")
	}
	clock := Clock(func() time.Time { return time.Unix(testNow, 0) })
	client, err := NewClient(newVerifier(t), server, os.Getenv("LICENTIA_TEST_FOLDER"), clock)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 40; i++ {
		if _, err := client.Refresh(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProcessesOnOneFolderNeverLoseTheBundle(t *testing.T) {
	f := newFixture(t)
	var seq atomic.Int64
	seq.Store(1)
	f.server.set(refreshPath, func(writer http.ResponseWriter, request *http.Request) {
		number := seq.Add(1)
		keys := bundleWith(object{"seq": number})
		renews(f.license(object{"seq": number}), keys)(writer, request)
	})
	done := make(chan error, 2)
	for i := 0; i < cap(done); i++ {
		writer := exec.Command(os.Args[0], "-test.run", "^TestRefreshingProcess$")
		writer.Env = append(os.Environ(),
			"LICENTIA_TEST_SERVER="+f.server.URL, "LICENTIA_TEST_FOLDER="+f.folder)
		go func() {
			output, err := writer.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, output)
			}
			done <- err
		}()
	}
	reader, verdicts, refused := f.restarted(), 0, map[Code]int{}
	for ended := 0; ended < cap(done); verdicts++ {
		select {
		case err := <-done:
			if ended++; err != nil {
				t.Fatal(err)
			}
		default:
		}
		if verdict := reader.Verify(); !verdict.Valid {
			refused[verdict.Code]++
		}
	}
	if len(refused) > 0 || !f.restarted().Verify().Valid {
		t.Errorf("of %d verdicts, %v", verdicts, refused)
	}
}

func TestTheNewestBundleCountsWhetherItComesBeforeTheLicenseOrAfterIt(t *testing.T) {
	for _, order := range [][]string{{"keys", "license"}, {"license", "keys"}} {
		f := newFixture(t)
		license, keys := f.byNextKey()
		file := string(encode(object{"license": f.token, "keys": bundleWith(nil)}))
		f.folder = t.TempDir()
		for _, name := range order {
			// Each start of the app takes in one of them.
			f.client = f.restarted()
			input := Input{License: file}
			if name == "keys" {
				input = Input{Keys: keys}
			}
			verdict := f.install(input)
			if isAlone := order[0] == "keys" && name == "keys"; verdict.Valid == isAlone {
				t.Errorf("%v, %s: got %q", order, name, verdict.Code)
			}
		}
		if verdict := f.restarted().Verify(); !verdict.Valid {
			t.Errorf("%v: got %q", order, verdict.Code)
		}
		if verdict := f.install(Input{License: license}); !verdict.Valid {
			t.Errorf("%v: got %q for the other key", order, verdict.Code)
		}
	}
}

func TestALicenseThatIsInstalledDuringARefreshIsKept(t *testing.T) {
	f := newFixture(t)
	license, keys := f.byNextKey()
	paid := f.license(object{"plan": "paid", "jti": "lic_2", "seq": 2})
	f.server.set(refreshPath, func(writer http.ResponseWriter, request *http.Request) {
		_, _ = f.restarted().Install(context.Background(), Input{License: paid})
		renews(license, keys)(writer, request)
	})
	if result := f.refresh(); result.Outcome != Renewed || result.Verdict.Plan != "paid" {
		t.Errorf("got %+v", result)
	}
	if stored := f.stored(); stored["license"] != paid || stored["keys"] != keys {
		t.Errorf("got %v", stored)
	}
}

func TestALicenseThatIsDeletedDuringARefreshStaysAway(t *testing.T) {
	f := newFixture(t)
	license, keys := f.byNextKey()
	path := filepath.Join(f.folder, licenseFileName)
	f.server.set(refreshPath, func(writer http.ResponseWriter, request *http.Request) {
		_ = os.Remove(path)
		renews(license, keys)(writer, request)
	})
	if result := f.refresh(); result.Verdict.Code != "malformed" {
		t.Errorf("got %+v", result)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}
