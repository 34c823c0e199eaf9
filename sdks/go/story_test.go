package licentia

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// TestAnAppSurvivesItsLifeInTheField is a trial, an upgrade, 40 days offline, a rotated key, wrong
// clocks, and a revocation on a USB stick.
func TestAnAppSurvivesItsLifeInTheField(t *testing.T) {
	server, folder, now := newServer(t), t.TempDir(), int64(testNow)
	// Each call is another start of the app, which was built once, with nothing but the root.
	start := func(address string) *Client {
		clock := Clock(func() time.Time { return time.Unix(now, 0) })
		client, err := NewClient(newVerifier(t), address, folder, clock)
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	online := func() *Client { return start(server.URL) }
	offline := func() *Client { return start("http://127.0.0.1:1") }
	issue := func(by signingKey, changes object) string {
		return licenseBy(by, change(object{
			"iat": now - 60, "nbf": now - 60, "exp": now + 14*testDay,
			"license_expires": now + 30*testDay, "grace_until": nil, "warn_days": 3,
			"status": object{"status_list": object{"idx": 7, "uri": server.URL + statusPath}},
			"on_end": object{"mode": "limited", "features": []string{"viewer"}},
		}, changes))
	}
	shows := func(client *Client, expected string) {
		t.Helper()
		verdict := client.Verify()
		got := fmt.Sprint(verdict.Plan, " ", verdict.State, verdict.Code, " ", verdict.Warn)
		if got != expected {
			t.Fatalf("expected %s, got %s", expected, got)
		}
	}
	refreshes := func(client *Client, expected Outcome) {
		t.Helper()
		result, err := client.Refresh(context.Background())
		if err != nil || result.Outcome != expected {
			t.Fatalf("expected %s, got %+v, %v", expected, result, err)
		}
	}

	firstKeys := bundleWith(nil)
	trial := issue(firstKey, object{
		"plan": "trial", "trial": true, "license_expires": now + 14*testDay,
	})
	file := Input{License: string(encode(object{"license": trial, "keys": firstKeys}))}
	if _, err := online().Install(context.Background(), file); err != nil {
		t.Fatal(err)
	}
	shows(online(), "trial active false")
	now += 12 * testDay
	shows(offline(), "trial active true")
	now += 2 * testDay
	shows(offline(), "trial limitedlicense_expired true")
	server.set(refreshPath, problem(403, "license_expired", ""))
	refreshes(online(), Ended)

	// The customer buys. The app notices at the next refresh.
	server.set(refreshPath, renews(issue(firstKey, object{"seq": 2}), firstKeys))
	refreshes(online(), Renewed)
	shows(online(), "professional active false")

	// 40 days offline, on a journey. Meanwhile, the vendor has replaced the key.
	now += 40 * testDay
	shows(offline(), "professional limitedlicense_expired true")
	refreshes(offline(), Offline)
	always := object{"nbf": 0, "exp": nil}
	keys := bundleWith(object{
		"iat": now - testDay, "seq": 2, "keys": []any{firstKey.jwk(always), otherKey.jwk(always)},
	})
	server.set(refreshPath, renews(issue(otherKey, object{"seq": 3}), keys))
	refreshes(online(), Renewed)
	shows(offline(), "professional active false")

	// A clock that is set back stops the app until it is right again.
	now += 10 * testDay
	shows(offline(), "professional active false")
	now -= 9 * testDay
	shows(offline(), "professional clock_rolled_back false")
	now += 9 * testDay
	shows(offline(), "professional active false")

	// A clock that was ahead by mistake, and is right again, is healed by a refresh.
	now += 300 * testDay
	shows(offline(), "professional limitedlicense_expired true")
	now -= 300 * testDay
	shows(offline(), "professional clock_rolled_back false")
	server.set(refreshPath, renews(issue(otherKey, object{"seq": 4}), keys))
	refreshes(online(), Renewed)
	shows(offline(), "professional active false")

	// The vendor revokes the license. A colleague carries the list on a USB stick.
	revoking := Input{Status: listWith(7, object{"iat": now, "sub": server.URL + statusPath})}
	if verdict, err := offline().Install(context.Background(), revoking); err != nil ||
		verdict.Code != LicenseRevoked {
		t.Fatalf("got %+v, %v", verdict, err)
	}
	shows(offline(), "professional revoked false")
}
