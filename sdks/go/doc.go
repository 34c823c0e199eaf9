// Package licentia verifies Licentia licenses offline, and keeps them fresh.
//
// A Verifier is a pure function: it does no I/O and judges texts at a given time. A Client stores a
// license in a folder and refreshes it from the vendor's server. Licenses are signed with Ed25519;
// only the standard library is needed.
package licentia
