package licentia

import (
	"context"
	"fmt"
	"math/rand"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Outcome is the result of a refresh.
type Outcome string

const (
	// Renewed: a fresh license is stored, or the one is kept that was installed meanwhile.
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
	every    time.Duration
	mutex    sync.Mutex
	clock    func() time.Time
	onError  func(error)
	// random is behind the mutex. Go 1.19 does not seed the source of the package.
	random *rand.Rand
	// rename is os.Rename, except in tests.
	rename func(from, to string) error
}

// ClientOption changes a client.
type ClientOption func(*Client)

// Clock replaces the clock of the system, for the tests of an app.
func Clock(clock func() time.Time) ClientOption {
	return func(c *Client) { c.clock = clock }
}

// Every replaces the day between two refreshes of Run. An app whose MaxStatusAge is less than two
// days needs it.
func Every(time time.Duration) ClientOption {
	return func(c *Client) { c.every = time }
}

// OnError is called when the folder cannot be written, for example because the disk is full: by
// Verify, and by Run, which tries again in an hour.
func OnError(onError func(error)) ClientOption {
	return func(c *Client) { c.onError = onError }
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
		every:    24 * time.Hour,
		clock:    time.Now,
		onError:  func(error) {},
		random:   rand.New(rand.NewSource(time.Now().UnixNano())),
		rename:   os.Rename,
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
	verdict, err := c.verify()
	if err != nil { // the memory is lost, which changes no verdict
		c.onError(err)
	}
	return verdict
}

func (c *Client) verify() (Verdict, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	stored := c.load()
	examination := c.examine(stored, offer{Input: Input{License: stored.license}})
	return examination.verdict, c.saveMemory(stored, examination)
}

// Install stores what the user pasted, opened or carried here, and returns the verdict about it.
// Of the input, it uses License (a license or a license.json), Keys and Status. A license that does
// not work never replaces one that does. With a license, the status list is fetched, and the bundle
// if the key of the license is unknown, until the context ends; the license is stored in any case.
// The error is that of the folder.
func (c *Client) Install(ctx context.Context, input Input) (Verdict, error) {
	given := offer{Input: input}
	if input.License != "" {
		c.complete(ctx, &given, false)
	}
	verdict, _, err := c.install(given, nil)
	return verdict, err
}

// offer is a license, if there is one, with the bundle and the list that came with it, and those
// that were fetched.
type offer struct {
	Input
	fetched []companions
}

// complete adds the newest status list of the server, and its bundle if that is needed or the key
// of the license is unknown.
func (c *Client) complete(ctx context.Context, given *offer, needsBundle bool) {
	examination := c.examineOffered(*given)
	if needsBundle || examination.verdict.Code == UnknownKey {
		keys := c.fetch(ctx, c.server+keysPath)
		given.fetched = append(given.fetched, companions{keys: keys})
		examination = c.examineOffered(*given)
	}
	claims := examination.claims
	if claims != nil && claims.status != nil && isSecure(claims.status.uri) {
		list := c.fetch(ctx, claims.status.uri)
		given.fetched = append(given.fetched, companions{status: list})
	}
}

func (c *Client) examineOffered(given offer) examination {
	stored := c.load()
	if given.License == "" {
		given.License = stored.license
	}
	return c.examine(stored, given)
}

// install returns the verdict about what was given, and whether that is stored. An answer of the
// server replaces only the license that was sent. If another one was installed meanwhile, that one
// is kept.
func (c *Client) install(given offer, sent *string) (Verdict, bool, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	stored := c.load()
	isOffered := given.License != ""
	if !isOffered || sent != nil && *sent != stored.token() {
		isOffered, given.License = false, stored.license
	}
	offered := c.examine(stored, given)
	kept, isStored := offered, !isOffered || offered.verdict.Valid
	if !isStored {
		// The memory of the first examination counts the bundle and the list of the offered
		// license, although it is not kept.
		beside := stored
		beside.memory = offered.memory
		file := readLicenseText(given.License)
		current := offer{Input{License: stored.license, Keys: given.Keys, Status: given.Status},
			append(given.fetched, file.companions)}
		kept = c.examine(beside, current)
		if isStored = offered.claims != nil && !kept.verdict.Valid; isStored {
			kept = offered
		}
	}
	if kept.claims != nil || kept.verdict.Code == KeyRevoked {
		if err := c.saveLicense(stored, kept); err != nil {
			return offered.verdict, isStored, err
		}
	}
	return offered.verdict, isStored, c.saveMemory(stored, kept)
}

// examine returns an examination of the license in an offer. All bundles and lists that are offered
// or stored take part.
func (c *Client) examine(stored stored, given offer) examination {
	given.Memory, given.Now = stored.memory, c.clock()
	others := append([]companions{stored.companions, readLicenseText(stored.license).companions},
		given.fetched...)
	return c.verifier.examine(given.Input, others...)
}

const keysPath = "/.well-known/license-keys"

var tokenPattern = regexp.MustCompile(`^[\w-]+\.[\w-]+\.[\w-]+$`)

// Refresh exchanges the license for the newest one. The error is that of the folder: an outcome
// says everything else.
func (c *Client) Refresh(ctx context.Context) (Refresh, error) {
	token := c.load().token()
	if !tokenPattern.MatchString(token) {
		return Refresh{Outcome: Unknown, Verdict: c.Verify()}, nil
	}
	response := c.request(ctx, "POST", c.server+"/api/licenses/refresh", token)
	if response.status == 200 {
		return c.renewed(ctx, response, token)
	}
	result := Refresh{Code: response.text("code"), RetryAfter: response.retryAfter}
	result.Outcome = outcome(response.status, result.Code)
	var err error
	if result.Outcome != Offline && result.Outcome != Busy {
		// The signed documents say why the license is not refreshed.
		var proof offer
		c.complete(ctx, &proof, true)
		_, _, err = c.install(proof, nil)
	}
	result.Verdict = c.Verify()
	return result, err
}

// Run refreshes now, every day, and when the verdict changes, until the context ends. While the
// license is not active, it refreshes every hour; after a failure, and while the clock seems wrong,
// sooner. It calls onChange with the first verdict, and with each one that differs. Start it in a
// goroutine.
func (c *Client) Run(ctx context.Context, onChange func(Verdict)) {
	last, due, failures := "", time.Time{}, 0
	report := func(verdict Verdict) bool {
		text := fmt.Sprint(verdict)
		isNew := text != last
		if last = text; isNew {
			onChange(verdict)
		}
		return isNew
	}
	for ctx.Err() == nil {
		verdict := c.Verify()
		if isNew := report(verdict); isNew || !time.Now().Before(due) {
			var wait time.Duration
			wait, failures = c.tryRefresh(ctx, failures)
			due = time.Now().Add(wait)
			verdict = c.Verify()
			report(verdict)
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
	result, err := c.Refresh(ctx)
	switch {
	case err != nil:
		c.onError(err)
		return time.Hour, 0
	case !result.shouldRetry() && result.Verdict.State != Active && c.every > time.Hour:
		// A payment may arrive at any time, and brings a license that is active again.
		return c.spread(time.Hour), 0
	case !result.shouldRetry():
		return c.spread(c.every), 0
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
	return c.spread(wait), failures + 1
}

// shouldRetry returns whether to refresh again soon. A clock that seems wrong may have been
// corrected: the next license, which is signed later, confirms it.
func (r Refresh) shouldRetry() bool {
	isClockWrong := r.Verdict.Code == ClockRolledBack || r.Verdict.Code == NotYetValid
	return r.Outcome == Busy || r.Outcome == Offline || isClockWrong
}

// spread adds up to a fifth, so that apps do not come back all at once.
func (c *Client) spread(wait time.Duration) time.Duration {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return wait + time.Duration(c.random.Float64()*float64(wait)/5)
}

func (c *Client) renewed(ctx context.Context, response response, sent string) (Refresh, error) {
	token := response.text("token")
	if token == "" { // somebody else answered, such as the login page of a network
		return Refresh{Outcome: Offline, Verdict: c.Verify()}, nil
	}
	given := offer{Input: Input{License: token, Keys: response.text("keys")}}
	c.complete(ctx, &given, false)
	verdict, isStored, err := c.install(given, &sent)
	if err != nil || !isStored {
		return Refresh{Outcome: Failed, Verdict: c.Verify(), Code: string(verdict.Code)}, err
	}
	return Refresh{Outcome: Renewed, Verdict: verdict}, nil
}

// fetch returns a public document; nothing if there is none.
func (c *Client) fetch(ctx context.Context, address string) string {
	response := c.request(ctx, "GET", address, "")
	if response.status != 200 {
		return ""
	}
	return string(response.body)
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
