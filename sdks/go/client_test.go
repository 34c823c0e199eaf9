package licentia

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	refreshPath = "/api/licenses/refresh"
	statusPath  = "/.well-known/license-status/1"
)

// fakeServer answers with what the test puts into it.
type fakeServer struct {
	*httptest.Server
	mutex     sync.Mutex
	responses map[string]http.HandlerFunc
	received  []*http.Request
}

func newServer(t *testing.T) *fakeServer {
	t.Helper()
	server := &fakeServer{responses: map[string]http.HandlerFunc{}}
	server.Server = httptest.NewServer(server)
	t.Cleanup(server.Close)
	return server
}

func (s *fakeServer) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	s.mutex.Lock()
	s.received = append(s.received, request)
	response, isSet := s.responses[request.URL.Path]
	s.mutex.Unlock()
	if !isSet {
		response = problem(404, "not_found", "")
	}
	response(writer, request)
}

func (s *fakeServer) set(path string, response http.HandlerFunc) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.responses[path] = response
}

func sends(status int, body string) http.HandlerFunc {
	return func(writer http.ResponseWriter, _ *http.Request) {
		writer.WriteHeader(status)
		_, _ = writer.Write([]byte(body))
	}
}

func problem(status int, code, retryAfter string) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		if retryAfter != "" {
			writer.Header().Set("Retry-After", retryAfter)
		}
		sends(status, string(encode(object{"status": status, "code": code})))(writer, request)
	}
}

// fixture is a client with a valid license of yesterday, and its server.
type fixture struct {
	*testing.T
	server *fakeServer
	client *Client
	folder string
	token  string
	now    time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, server: newServer(t), folder: filepath.Join(t.TempDir(), "acme")}
	f.now = time.Unix(testNow, 0)
	client, err := NewClient(newVerifier(t), f.server.URL+"/", f.folder)
	if err != nil {
		t.Fatal(err)
	}
	client.clock = func() time.Time { return f.now }
	f.client = client
	f.token = f.license(object{"iat": testNow - testDay})
	verdict := f.install(Input{License: f.token, Keys: bundleWith(nil)})
	if !verdict.Valid {
		t.Fatalf("got %q", verdict.Code)
	}
	f.server.received = nil
	return f
}

func (f *fixture) license(changes object) string {
	list := object{"status_list": object{"idx": 7, "uri": f.server.URL + statusPath}}
	return licenseBy(firstKey, change(object{"status": list}, changes))
}

func (f *fixture) list(index int) string {
	return listWith(index, object{"sub": f.server.URL + statusPath})
}

func (f *fixture) install(input Input) Verdict {
	f.Helper()
	verdict, err := f.client.Install(context.Background(), input)
	if err != nil {
		f.Fatal(err)
	}
	return verdict
}

func (f *fixture) refresh() Refresh {
	f.Helper()
	result, err := f.client.Refresh(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	return result
}

func (f *fixture) stored() map[string]string {
	f.Helper()
	text, err := os.ReadFile(filepath.Join(f.folder, "license.json"))
	if err != nil {
		f.Fatal(err)
	}
	var file map[string]string
	if err := json.Unmarshal(text, &file); err != nil {
		f.Fatal(err)
	}
	return file
}

func TestARefreshStoresTheNewestLicenseBundleAndList(t *testing.T) {
	f := newFixture(t)
	token, keys := f.license(object{"plan": "enterprise"}), bundleWith(object{"seq": 2})
	f.server.set(refreshPath, sends(200, string(encode(object{"token": token, "keys": keys}))))
	f.server.set(statusPath, sends(200, f.list(1)))
	result := f.refresh()
	if result.Outcome != Renewed || result.Verdict.Plan != "enterprise" {
		t.Errorf("got %+v", result)
	}
	stored := f.stored()
	if stored["license"] != token || stored["keys"] != keys || stored["status"] != f.list(1) {
		t.Errorf("got %v", stored)
	}
	f.server.set(statusPath, sends(500, ""))
	if f.refresh(); f.stored()["status"] != f.list(1) {
		t.Error("the list was lost")
	}
	if f.server.received[0].Header.Get("Authorization") != "Bearer "+f.token {
		t.Error("the license is the credential")
	}
	if f.server.received[1].Header.Get("Authorization") != "" {
		t.Error("the license was sent with a request for the list")
	}
}

func TestAPastedLicenseNeedsNoBundleBesideIt(t *testing.T) {
	f := newFixture(t)
	client, err := NewClient(newVerifier(t), f.server.URL, t.TempDir(), Clock(f.client.clock))
	if err != nil {
		t.Fatal(err)
	}
	f.client = client
	if verdict := f.install(Input{License: f.token}); verdict.Code != "unknown_key" {
		t.Errorf("without the bundle: got %+v", verdict)
	}
	f.server.set(keysPath, sends(200, bundleWith(nil)))
	if verdict := f.install(Input{License: f.token}); !verdict.Valid || !client.Verify().Valid {
		t.Errorf("got %+v", verdict)
	}
}

func TestTheStatusListOfAPastedLicenseIsFetched(t *testing.T) {
	f := newFixture(t)
	f.server.set(statusPath, sends(200, f.list(7)))
	missing := object{"status_list": object{"idx": 7, "uri": f.server.URL + "/missing"}}
	works := f.license(object{"status": missing})
	if verdict := f.install(Input{License: works}); !verdict.Valid {
		t.Errorf("a list that cannot be fetched: got %+v", verdict)
	}
	if verdict := f.install(Input{License: f.token}); verdict.Code != "revoked" {
		t.Errorf("got %+v", verdict)
	}
	if f.stored()["license"] != works {
		t.Error("a license that works was replaced")
	}
	f.client.folder, f.folder = t.TempDir(), f.client.folder
	verdict := f.install(Input{License: f.token, Keys: bundleWith(nil)})
	if verdict.Code != "revoked" || f.client.Verify().Code != "revoked" {
		t.Errorf("got %+v", verdict)
	}
}

func TestTheLatestOfTheListsThatAreGivenStoredAndFetchedCounts(t *testing.T) {
	for _, latest := range []string{"given", "in the file", "fetched"} {
		f := newFixture(t)
		list := func(source string) string {
			changes := object{"sub": f.server.URL + statusPath}
			if source != latest {
				return listWith(1, changes)
			}
			changes["iat"] = testNow - 1
			return listWith(7, changes)
		}
		f.server.set(statusPath, sends(200, list("fetched")))
		file := string(encode(object{"license": f.token, "status": list("in the file")}))
		verdict := f.install(Input{License: file, Status: list("given")})
		if verdict.Code != "revoked" {
			t.Errorf("%s: got %+v", latest, verdict)
		}
	}
}

func TestEachResponseHasAnOutcome(t *testing.T) {
	f := newFixture(t)
	token := string(encode(object{"token": licenseBy(otherKey, nil)}))
	date := f.now.Add(time.Minute).UTC().Format(http.TimeFormat)
	for _, c := range []struct {
		response   http.HandlerFunc
		outcome    Outcome
		retryAfter time.Duration
	}{
		{problem(403, "license_expired", ""), Ended, 0},
		{problem(403, "revoked", ""), Revoked, 0},
		{problem(403, "key_revoked", ""), Revoked, 0},
		{problem(401, "invalid_license", ""), Unknown, 0},
		{problem(403, "token_expired", ""), Unknown, 0},
		{problem(429, "too_many_requests", "17"), Busy, 17 * time.Second},
		{problem(503, "busy", "0"), Busy, time.Second},
		{problem(503, "busy", "999999999"), Busy, 24 * time.Hour},
		{problem(503, "busy", date), Busy, time.Minute},
		{problem(503, "busy", "soon"), Busy, 0},
		{sends(502, "<html>"), Busy, 0},
		{sends(404, "<html>"), Offline, 0},
		{sends(403, "<html>Log in to the network of the hotel"), Offline, 0},
		{problem(409, "idempotency_running", ""), Busy, 0},
		{sends(200, "<html>Please log in to this network"), Offline, 0},
		{sends(200, token), Failed, 0},
		{sends(200, `{"token":7}`), Offline, 0},
	} {
		f.server.set(refreshPath, c.response)
		result := f.refresh()
		if result.Outcome != c.outcome || result.RetryAfter != c.retryAfter {
			t.Errorf("expected %s %s, got %+v", c.outcome, c.retryAfter, result)
		}
		if !result.Verdict.Valid || f.stored()["license"] != f.token {
			t.Error("an answer alone ended the license")
		}
	}
	f.server.Close()
	if result := f.refresh(); result.Outcome != Offline {
		t.Errorf("got %+v", result)
	}
}

func TestARevocationIsProvedBySignedDocuments(t *testing.T) {
	f := newFixture(t)
	f.server.set(refreshPath, problem(403, "revoked", ""))
	f.server.set(statusPath, sends(200, f.list(7)))
	if result := f.refresh(); result.Verdict.Code != "revoked" {
		t.Errorf("got %+v", result)
	}
	g := newFixture(t)
	revoked := bundleWith(object{"seq": 2, "revoked": []string{firstKey.kid}})
	g.server.set(refreshPath, problem(403, "key_revoked", ""))
	g.server.set(keysPath, sends(200, revoked))
	if result := g.refresh(); result.Verdict.Code != "key_revoked" {
		t.Errorf("got %+v", result)
	}
}

func TestTheLicenseIsNeverSentElsewhere(t *testing.T) {
	f, other := newFixture(t), newServer(t)
	f.server.set(refreshPath, func(writer http.ResponseWriter, request *http.Request) {
		http.Redirect(writer, request, other.URL+refreshPath, http.StatusTemporaryRedirect)
	})
	if result := f.refresh(); result.Outcome != Offline || len(other.received) > 0 {
		t.Errorf("got %+v", result)
	}
	f.server.set(refreshPath, problem(403, "revoked", ""))
	f.server.set(statusPath, func(writer http.ResponseWriter, request *http.Request) {
		http.Redirect(writer, request, other.URL+statusPath, http.StatusMovedPermanently)
	})
	other.set(statusPath, sends(200, f.list(7)))
	if result := f.refresh(); result.Verdict.Code != "revoked" {
		t.Errorf("a list that has moved was not fetched: %+v", result)
	}
	for _, server := range []string{"http://licenses.acme.example", "ftp://x", "x", ""} {
		if _, err := NewClient(newVerifier(t), server, f.folder); err == nil {
			t.Errorf("%q was accepted", server)
		}
	}
}

func TestALicenseThatDoesNotWorkNeverReplacesOneThatDoes(t *testing.T) {
	f := newFixture(t)
	over := f.license(object{"exp": testNow - testDay})
	if verdict := f.install(Input{License: over}); verdict.Code != "token_expired" {
		t.Errorf("got %+v", verdict)
	}
	if f.stored()["license"] != f.token {
		t.Error("the license was replaced")
	}
	if verdict := f.install(Input{Status: f.list(7)}); verdict.Code != "revoked" {
		t.Errorf("got %+v", verdict)
	}
}

func TestClocksAndDamagedFiles(t *testing.T) {
	f := newFixture(t)
	f.now = f.now.Add(5 * 24 * time.Hour)
	f.client.Verify()
	f.now = f.now.Add(-2 * time.Hour)
	if verdict := f.client.Verify(); verdict.Code != "clock_rolled_back" {
		t.Errorf("got %+v", verdict)
	}
	for _, content := range []string{"", "\xff", "{", strings.Repeat("[", 5_000_000)} {
		for name, isValid := range map[string]bool{"memory.json": true, "license.json": false} {
			path := filepath.Join(f.folder, name)
			before, _ := os.ReadFile(path)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if verdict := f.client.Verify(); verdict.Valid != isValid {
				t.Errorf("%s: got %+v", name, verdict)
			}
			if name == "license.json" {
				_ = os.WriteFile(path, before, 0o600)
			}
		}
	}
}

func TestRunReportsEachVerdictThatDiffers(t *testing.T) {
	f := newFixture(t)
	upgraded := string(encode(object{"token": f.license(object{"plan": "enterprise"})}))
	f.server.set(refreshPath, sends(200, upgraded))
	ctx, cancel := context.WithCancel(context.Background())
	plans, done := make(chan string, 9), make(chan struct{})
	go func() {
		f.client.Run(ctx, func(verdict Verdict) { plans <- verdict.Plan })
		close(done)
	}()
	if first, second := <-plans, <-plans; first != "professional" || second != "enterprise" {
		t.Errorf("got %s, then %s", first, second)
	}
	cancel()
	<-done
}

func TestWaitsGrowAndFollowTheServer(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		response http.HandlerFunc
		failures int
		least    time.Duration
	}{
		{problem(503, "busy", "5"), 0, time.Minute},
		{problem(503, "busy", "5"), 3, 8 * time.Minute},
		{problem(503, "busy", "600"), 0, 10 * time.Minute},
		{problem(503, "busy", "600"), 99, 64 * time.Minute},
		{sends(502, ""), 0, time.Minute},
		{sends(502, ""), 3, 8 * time.Minute},
		{sends(502, ""), 99, 64 * time.Minute},
		{problem(403, "license_expired", ""), 5, 24 * time.Hour},
	} {
		f.server.set(refreshPath, c.response)
		wait, _ := f.client.tryRefresh(context.Background(), c.failures)
		if wait < c.least || wait > c.least*6/5 {
			t.Errorf("expected %s, got %s", c.least, wait)
		}
	}
}

func TestItRefreshesWhenTheVerdictChanges(t *testing.T) {
	f := newFixture(t)
	var seconds atomic.Int64
	f.client.clock = func() time.Time { return time.Unix(testNow+seconds.Load(), 0) }
	f.client.verifier = newVerifier(t, MaxStatusAge(time.Minute))
	f.server.set(refreshPath, renews(f.token, bundleWith(nil)))
	f.server.set(statusPath, sends(200, f.list(1)))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	verdicts := make(chan Verdict)
	go f.client.Run(ctx, func(verdict Verdict) { verdicts <- verdict })
	for verdict := <-verdicts; !verdict.Valid; verdict = <-verdicts {
	}
	// The list is a minute old, and too old in a second.
	fresh := object{"sub": f.server.URL + statusPath, "iat": testNow + 1}
	f.server.set(statusPath, sends(200, listWith(1, fresh)))
	seconds.Store(1)
	if verdict := <-verdicts; verdict.Code != "stale_status" {
		t.Errorf("got %+v", verdict)
	}
	if verdict := <-verdicts; verdict.State != Active {
		t.Errorf("got %+v", verdict)
	}
}

func TestItComesBackHourlyWhileTheLicenseIsNotActive(t *testing.T) {
	for name, c := range map[string]struct {
		mode     string
		grace    any
		listedAt int64
	}{
		"grace":           {"stop", testNow + testDay, testNow},
		"overdue":         {"warn", nil, testNow},
		"limited":         {"limited", nil, testNow},
		"license_expired": {"stop", nil, testNow},
		"stale_status":    {"stop", testNow + testDay, testNow - 61},
	} {
		f := newFixture(t)
		f.client.verifier = newVerifier(t, MaxStatusAge(time.Minute))
		list := object{"sub": f.server.URL + statusPath, "iat": c.listedAt}
		f.server.set(statusPath, sends(200, listWith(1, list)))
		token := f.license(object{
			"license_expires": testNow - 1, "grace_until": c.grace, "on_end": object{"mode": c.mode},
		})
		f.client.folder = t.TempDir()
		verdict := f.install(Input{License: token, Keys: bundleWith(nil)})
		if string(verdict.State) != name && string(verdict.Code) != name {
			t.Fatalf("%s: got %+v", name, verdict)
		}
		responses := []http.HandlerFunc{
			renews(token, bundleWith(nil)), problem(403, "license_expired", ""),
		}
		for _, response := range responses {
			f.server.set(refreshPath, response)
			for every, least := range map[time.Duration]time.Duration{
				24 * time.Hour: time.Hour, time.Minute: time.Minute,
			} {
				Every(every)(f.client)
				wait, _ := f.client.tryRefresh(context.Background(), 0)
				if wait < least || wait > least*6/5 {
					t.Errorf("%s: got %s", name, wait)
				}
			}
		}
	}
}

func TestALicenseThatHasEndedGetsTheNewestListToo(t *testing.T) {
	f := newFixture(t)
	f.client.verifier = newVerifier(t, MaxStatusAge(time.Minute))
	ended := f.license(object{
		"license_expires": testNow - 1, "grace_until": nil, "on_end": object{"mode": "warn"},
	})
	f.install(Input{License: ended})
	f.now = f.now.Add(time.Hour)
	if verdict := f.client.Verify(); verdict.Code != "stale_status" {
		t.Errorf("got %+v", verdict)
	}
	fresh := object{"sub": f.server.URL + statusPath, "iat": testNow + 3600}
	f.server.set(statusPath, sends(200, listWith(1, fresh)))
	f.server.set(refreshPath, problem(403, "license_expired", ""))
	if result := f.refresh(); result.Outcome != Ended || result.Verdict.State != Overdue {
		t.Errorf("got %+v", result)
	}
}

func TestItComesBackSoonWhileTheClockSeemsWrong(t *testing.T) {
	f := newFixture(t)
	failures := 0
	refreshes := func(expected Code, expectedFailures int, least time.Duration) {
		t.Helper()
		var wait time.Duration
		wait, failures = f.client.tryRefresh(context.Background(), failures)
		verdict := f.client.Verify()
		isInTime := wait >= least && wait <= least*6/5
		if verdict.Code != expected || failures != expectedFailures || !isInTime {
			t.Errorf("got %q, %d, %s", verdict.Code, failures, wait)
		}
	}
	renew := func(license string) {
		f.server.set(refreshPath, sends(200, string(encode(object{"token": license}))))
	}
	// The clock was a year ahead, and is right again. The server has signed nothing later.
	f.now = f.now.Add(365 * 24 * time.Hour)
	f.client.Verify()
	f.now = time.Unix(testNow, 0)
	renew(f.token)
	refreshes("clock_rolled_back", 1, time.Minute)
	refreshes("clock_rolled_back", 2, 2*time.Minute)
	renew(f.license(object{"iat": testNow - 59, "nbf": testNow - 59}))
	refreshes("", 0, 24*time.Hour)
	// The clock is too slow.
	f.now = f.now.Add(-24 * time.Hour)
	if result := f.refresh(); result.Outcome != Renewed {
		t.Errorf("got %+v", result)
	}
	refreshes("not_yet_valid", 1, time.Minute)
}

func TestAClientHasARandomSourceOfItsOwn(t *testing.T) {
	f := newFixture(t)
	// The source of the package is the same in each run of an app that Go 1.19 builds.
	rand.Seed(1)
	one := f.client.spread(time.Hour)
	rand.Seed(1)
	other := f.restarted().spread(time.Hour)
	if one == other {
		t.Errorf("two apps wait %s", one)
	}
}

func TestAFolderThatCannotBeWrittenIsReported(t *testing.T) {
	f := newFixture(t)
	full := errors.New("no space left on device")
	var reported []error
	OnError(func(err error) {
		f.client.spread(time.Hour) // it does not hold the mutex
		reported = append(reported, err)
	})(f.client)
	f.client.rename = func(string, string) error { return full }
	f.now = f.now.Add(time.Minute)
	if verdict := f.client.Verify(); !verdict.Valid || !errors.Is(reported[0], full) {
		t.Errorf("got %+v, %v", verdict, reported)
	}
}

func TestAnInstallationDoesNotWaitForTheNetworkOnceItsContextHasEnded(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(context.Background())
	f.server.set(statusPath, func(_ http.ResponseWriter, request *http.Request) {
		cancel()
		<-request.Context().Done()
	})
	token := f.license(object{"plan": "enterprise"})
	verdict, err := f.client.Install(ctx, Input{License: token})
	if err != nil || verdict.Plan != "enterprise" || f.stored()["license"] != token {
		t.Errorf("got %+v, %v", verdict, err)
	}
}
