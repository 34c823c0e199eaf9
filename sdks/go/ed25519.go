package licentia

import (
	"crypto/ed25519"
	"encoding/hex"
	"math/big"
)

// crypto/ed25519 accepts points of small order, with which one signature fits many messages, and
// keys whose encoding is not canonical. RFC 8032 in its strict form refuses both. It does check
// that S is canonical, and compares the bytes of R.

var (
	one        = big.NewInt(1)
	fieldPrime = new(big.Int).Sub(new(big.Int).Lsh(one, 255), big.NewInt(19))
	curveD     = newCurveD()
	smallOrder = newSmallOrder()
)

// isUsableKey reports whether a public key has 32 bytes, is canonical, is on the curve, and is not
// of small order.
func isUsableKey(key []byte) bool {
	if len(key) != ed25519.PublicKeySize {
		return false
	}
	y := yCoordinate(key)
	if y.Cmp(fieldPrime) >= 0 || smallOrder[y.String()] {
		return false
	}
	// The curve is -x² + y² = 1 + d x² y², so x² = (y² - 1) / (d y² + 1).
	ySquared := new(big.Int).Mul(y, y)
	numerator := new(big.Int).Sub(ySquared, one)
	denominator := new(big.Int).Mul(curveD, ySquared)
	denominator.Add(denominator, one).ModInverse(denominator, fieldPrime)
	xSquared := numerator.Mul(numerator, denominator)
	return big.Jacobi(xSquared.Mod(xSquared, fieldPrime), fieldPrime) == 1
}

// isSignatureValid reports whether a usable key signed the message.
func isSignatureValid(key, message, signature []byte) bool {
	if len(signature) != ed25519.SignatureSize {
		return false
	}
	if smallOrder[yCoordinate(signature[:32]).String()] {
		return false
	}
	return ed25519.Verify(key, message, signature)
}

// yCoordinate returns the y coordinate of an encoded point: little-endian, without the sign of x.
func yCoordinate(point []byte) *big.Int {
	bigEndian := make([]byte, len(point))
	for i, b := range point {
		bigEndian[len(point)-1-i] = b
	}
	bigEndian[0] &= 0x7f
	return new(big.Int).SetBytes(bigEndian)
}

func newCurveD() *big.Int {
	d := new(big.Int).ModInverse(big.NewInt(121666), fieldPrime)
	d.Mul(d, big.NewInt(-121665))
	return d.Mod(d, fieldPrime)
}

// newSmallOrder returns the y coordinates of the eight points whose order divides 8.
func newSmallOrder() map[string]bool {
	// A point of order 8, from the literature on Ed25519.
	order8, _ := hex.DecodeString("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
	y8 := yCoordinate(order8)
	coordinates := []*big.Int{
		new(big.Int), one, new(big.Int).Sub(fieldPrime, one), y8, new(big.Int).Sub(fieldPrime, y8),
	}
	// A point R may also have the encoding y + p, which is not canonical.
	found := map[string]bool{}
	for _, y := range coordinates {
		found[y.String()] = true
		found[new(big.Int).Add(y, fieldPrime).String()] = true
	}
	return found
}
