package licentia

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	maxResponseBytes = 1024 * 1024
	maxRedirects     = 5
	requestTimeout   = 20 * time.Second
	maxRetryAfter    = 24 * time.Hour
)

// httpClient follows no redirect with a license, which is a credential. Lists and bundles are
// public, and may have moved.
var httpClient = &http.Client{
	Timeout: requestTimeout,
	CheckRedirect: func(_ *http.Request, before []*http.Request) error {
		if before[0].Header.Get("Authorization") != "" || len(before) > maxRedirects {
			return http.ErrUseLastResponse
		}
		return nil
	},
}

// response is what the server sent; status 0 if it could not be reached.
type response struct {
	status     int
	body       []byte
	retryAfter time.Duration
}

// text returns a member of a JSON response; empty if it is not there.
func (r response) text(name string) string {
	var members map[string]any
	if json.Unmarshal(r.body, &members) != nil {
		return ""
	}
	text, _ := members[name].(string)
	return text
}

func (c *Client) request(ctx context.Context, method, address, token string) response {
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return response{}
	}
	request.Header.Set("User-Agent", "licentia-go")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := httpClient.Do(request)
	if err != nil {
		return response{}
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxResponseBytes))
	if err != nil {
		return response{}
	}
	retryAfter := retryAfter(answer.Header.Get("Retry-After"), c.clock())
	return response{answer.StatusCode, body, retryAfter}
}

func outcome(status int, problem string) Outcome {
	switch {
	case status == 429, status >= 500:
		return Busy
	case problem == "": // no response, or that of somebody else, such as the login page of a network
		return Offline
	case problem == "revoked", problem == "key_revoked":
		return Revoked
	case problem == "license_expired":
		return Ended
	case status == 408, status == 409:
		return Busy
	case status == 401, status == 403:
		return Unknown
	default:
		return Failed
	}
}

// retryAfter returns the time in a Retry-After, a number of seconds or a date: between a second and
// a day; zero if there is none.
func retryAfter(header string, now time.Time) time.Duration {
	if header == "" {
		return 0
	}
	var wait time.Duration
	if seconds, err := strconv.ParseUint(header, 10, 64); err == nil {
		if seconds > uint64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = at.Sub(now)
	} else {
		return 0
	}
	switch {
	case wait < time.Second:
		return time.Second
	case wait > maxRetryAfter:
		return maxRetryAfter
	default:
		return wait
	}
}
