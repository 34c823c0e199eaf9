package licentia

import (
	"context"
	"fmt"
	"math/rand"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Outcome is the result of a refresh.
type Outcome string

const (
	// Renewed: a fresh license is stored.
	Renewed Outcome = "renewed"
	// Ended: nothing is paid for any more. After a new purchase, the next refresh succeeds.
	Ended Outcome = "ended"
	// Revoked: this license, or its key, was revoked. The user logs in, or contacts the vendor.
	Revoked Outcome = "revoked"
	// Unknown: there is no license, or the server cannot refresh it. The user logs in to get one.
	Unknown Outcome = "unknown"
	// Busy: the server asks to try again after Refresh.RetryAfter.
	Busy Outcome = "busy"
	// Offline: the server could not be reached.
	Offline Outcome = "offline"
	// Failed: the server refused the request, or its license does not verify; see Refresh.Code.
	Failed Outcome = "failed"
)

// Refresh says what a refresh did, and has the verdict about the license that is stored now.
type Refresh struct {
	Outcome Outcome
	Verdict Verdict
	// Code is the code of the server's problem, or of the verdict about the license it sent.
	Code string
	// RetryAfter is zero if the server named no time.
	RetryAfter time.Duration
}

// Client keeps a license in a folder: license.json, and the memory of the device in memory.json.
// It may be used by several goroutines.
//
// Only signed documents decide. What the server says about a license leads to fetching the key
// bundle or the status list that proves it; an answer alone neither extends nor ends a license.
type Client struct {
	verifier *Verifier
	server   string
	folder   string
	mutex    sync.Mutex
	clock    func() time.Time
}

// ClientOption changes a client.
type ClientOption func(*Client)

// Clock replaces the clock of the system, for the tests of an app.
func Clock(clock func() time.Time) ClientOption {
	return func(c *Client) { c.clock = clock }
}

// NewClient returns a client. The server is its https address, or http on this machine, without
// /api.
func NewClient(
	verifier *Verifier, server, folder string, options ...ClientOption,
) (*Client, error) {
	if !isSecure(server) {
		return nil, fmt.Errorf("licentia: %q is not an https address", server)
	}
	client := &Client{
		verifier: verifier,
		server:   strings.TrimSuffix(server, "/"),
		folder:   folder,
		clock:    time.Now,
	}
	for _, option := range options {
		option(client)
	}
	return client, nil
}

// Verify returns the verdict about the stored license, without the network. It reads the license
// and stores the memory: call it at the start and from ChangesAt on, and keep the verdict in
// between.
func (c *Client) Verify() Verdict {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.examine(Input{License: c.stored()}).verdict
}

// Install stores what the user pasted, opened or carried here, and returns the verdict about it.
// Of the input, it uses License (a license or a license.json), Keys and Status. A license that does
// not work never replaces one that does. With a license, the status list is fetched, and the bundle
// if the key of the license is unknown. The error is that of the folder.
func (c *Client) Install(input Input) (Verdict, error) {
	verdict, _, err := c.install(context.Background(), input)
	return verdict, err
}

// install returns the verdict about the input, and whether it is stored.
func (c *Client) install(ctx context.Context, input Input) (Verdict, bool, error) {
	if input.License != "" {
		input = c.complete(ctx, input)
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	stored := c.stored()
	current := c.examine(Input{License: stored, Keys: input.Keys, Status: input.Status})
	if input.License == "" {
		return current.verdict, true, c.store(current)
	}
	offered := c.examineBeside(current, input)
	isOurs := offered.claims != nil
	switch {
	case offered.verdict.Valid, isOurs && !current.verdict.Valid:
		return offered.verdict, true, c.store(offered)
	case stored != "":
		return offered.verdict, false, c.store(current)
	default:
		return offered.verdict, false, nil
	}
}

// complete adds the newest status list of the server, and its bundle if the key of the license is
// unknown. What was given is then in the license file.
func (c *Client) complete(ctx context.Context, input Input) Input {
	offered := c.examineOffered(input)
	if offered.verdict.Code == "unknown_key" {
		if keys := c.fetch(ctx, c.server+keysPath); keys != "" {
			input.License, input.Keys = string(offered.licenseFile()), keys
			offered = c.examineOffered(input)
		}
	}
	if list := c.fetchList(ctx, offered); list != "" {
		input.License, input.Status = string(offered.licenseFile()), list
	}
	return input
}

// examineOffered examines a license that is not stored, beside what is stored.
func (c *Client) examineOffered(input Input) examination {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	stored := Input{License: c.stored(), Keys: input.Keys, Status: input.Status}
	return c.examineBeside(c.examine(stored), input)
}

func (c *Client) examineBeside(current examination, input Input) examination {
	// The stored bundle and list may be newer than those that come with the license.
	if current.bundle != nil {
		input.Keys = current.bundle.text
	}
	if input.Status == "" && current.list != nil {
		input.Status = current.list.text
	}
	return c.examine(input)
}

const keysPath = "/.well-known/license-keys"

var tokenPattern = regexp.MustCompile(`^[\w-]+\.[\w-]+\.[\w-]+$`)

// Refresh exchanges the license for the newest one. The error is that of the folder: an outcome
// says everything else.
func (c *Client) Refresh(ctx context.Context) (Refresh, error) {
	token := readLicenseText(c.stored()).license
	if !tokenPattern.MatchString(token) {
		return Refresh{Outcome: Unknown, Verdict: c.Verify()}, nil
	}
	response := c.request(ctx, "POST", c.server+"/api/licenses/refresh", token)
	if response.status == 200 {
		return c.renewed(ctx, response)
	}
	result := Refresh{Code: response.text("code"), RetryAfter: response.retryAfter}
	result.Outcome = outcome(response.status, result.Code)
	var err error
	if result.Outcome == Revoked || result.Outcome == Unknown {
		err = c.fetchProof(ctx)
	}
	result.Verdict = c.Verify()
	return result, err
}

// Run refreshes now, then every day, or sooner after a failure or while the clock seems wrong,
// until the context ends. It calls onChange with the first verdict, and with each one that differs.
// Start it in a goroutine.
func (c *Client) Run(ctx context.Context, onChange func(Verdict)) {
	last, due, failures := "", time.Time{}, 0
	for ctx.Err() == nil {
		verdict := c.Verify()
		if text := fmt.Sprint(verdict); text != last {
			last = text
			onChange(verdict)
		}
		if !time.Now().Before(due) {
			var wait time.Duration
			wait, failures = c.tryRefresh(ctx, failures)
			due = time.Now().Add(wait)
			continue // the refresh may have changed the verdict
		}
		wait := time.Until(due)
		if wait > time.Hour {
			wait = time.Hour
		}
		if change := verdict.ChangesAt.Sub(c.clock()); !verdict.ChangesAt.IsZero() && change < wait {
			wait = change
		}
		if wait < time.Second {
			wait = time.Second
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// tryRefresh returns how long to wait until the next refresh, and the number of failures in a row.
func (c *Client) tryRefresh(ctx context.Context, failures int) (time.Duration, int) {
	const every = 24 * time.Hour
	result, err := c.Refresh(ctx)
	switch {
	case err != nil:
		return time.Hour, 0
	case !result.shouldRetry():
		return spread(every), 0
	}
	doublings := failures
	if doublings > 6 {
		doublings = 6
	}
	// A server that is down sends the same few seconds in each Retry-After.
	wait := time.Minute << doublings
	if wait < result.RetryAfter {
		wait = result.RetryAfter
	}
	return spread(wait), failures + 1
}

// shouldRetry returns whether to refresh again soon. A clock that seems wrong may have been
// corrected: the next license, which is signed later, confirms it.
func (r Refresh) shouldRetry() bool {
	isClockWrong := r.Verdict.Code == "clock_rolled_back" || r.Verdict.Code == "not_yet_valid"
	return r.Outcome == Busy || r.Outcome == Offline || isClockWrong
}

// spread adds up to a fifth, so that apps do not come back all at once.
func spread(wait time.Duration) time.Duration {
	return wait + time.Duration(rand.Float64()*float64(wait)/5)
}

func (c *Client) renewed(ctx context.Context, response response) (Refresh, error) {
	token := response.text("token")
	if token == "" { // somebody else answered, such as the login page of a network
		return Refresh{Outcome: Offline, Verdict: c.Verify()}, nil
	}
	given := Input{License: token, Keys: response.text("keys")}
	verdict, isStored, err := c.install(ctx, given)
	if err != nil || !isStored {
		return Refresh{Outcome: Failed, Verdict: c.Verify(), Code: verdict.Code}, err
	}
	return Refresh{Outcome: Renewed, Verdict: verdict}, nil
}

// fetchProof fetches the signed documents that say why a license is not refreshed.
func (c *Client) fetchProof(ctx context.Context) error {
	if keys := c.fetch(ctx, c.server+keysPath); keys != "" {
		if _, err := c.Install(Input{Keys: keys}); err != nil {
			return err
		}
	}
	c.mutex.Lock()
	current := c.examine(Input{License: c.stored()})
	c.mutex.Unlock()
	list := c.fetchList(ctx, current)
	if list == "" {
		return nil
	}
	_, err := c.Install(Input{Status: list})
	return err
}

// fetchList returns the status list that a license names; nothing if there is none.
func (c *Client) fetchList(ctx context.Context, e examination) string {
	if e.claims == nil || e.claims.status == nil || !isSecure(e.claims.status.uri) {
		return ""
	}
	return c.fetch(ctx, e.claims.status.uri)
}

// fetch returns a public document; nothing if there is none.
func (c *Client) fetch(ctx context.Context, address string) string {
	response := c.request(ctx, "GET", address, "")
	if response.status != 200 {
		return ""
	}
	return string(response.body)
}

// examine returns an examination, and stores the new memory. Memory that cannot be stored is lost,
// which is no error.
func (c *Client) examine(input Input) examination {
	input.Memory, input.Now = c.read("memory.json"), c.clock()
	examination := c.verifier.examine(input)
	if examination.memory != input.Memory {
		_ = c.write("memory.json", []byte(examination.memory))
	}
	return examination
}

func (c *Client) stored() string {
	return c.read("license.json")
}

func (c *Client) store(e examination) error {
	return c.write("license.json", e.licenseFile())
}

// read returns the content of a file; nothing if it cannot be read or is far too large.
func (c *Client) read(name string) string {
	path := filepath.Join(c.folder, name)
	info, err := os.Stat(path)
	if err != nil || info.Size() > 2*maxLicenseFileBytes {
		return ""
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(content)
}

// write replaces a file. After a crash it has either the old or the new content.
func (c *Client) write(name string, content []byte) (err error) {
	if err := os.MkdirAll(c.folder, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(c.folder, "."+name+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	if _, err = file.Write(content); err == nil {
		err = file.Sync()
	}
	if closeError := file.Close(); err == nil {
		err = closeError
	}
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), filepath.Join(c.folder, name))
}

func isSecure(address string) bool {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Hostname() == "" {
		return false
	}
	host := parsed.Hostname()
	isLocal := host == "localhost" || host == "127.0.0.1" || host == "::1"
	return parsed.Scheme == "https" || (parsed.Scheme == "http" && isLocal)
}
