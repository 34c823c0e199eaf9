package dev.licentia;

import java.math.BigInteger;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.SignatureException;
import java.security.spec.EdECPoint;
import java.security.spec.EdECPublicKeySpec;
import java.security.spec.NamedParameterSpec;
import java.util.Arrays;

/** Verifies Ed25519 signatures strictly (RFC 8032): the JDK checks the equation, this the rest. */
final class Ed25519 {
    private static final BigInteger ONE = BigInteger.ONE;
    private static final BigInteger TWO = BigInteger.TWO;
    /** The prime of the field. */
    private static final BigInteger P = TWO.pow(255).subtract(BigInteger.valueOf(19));
    /** The order of the base point. */
    private static final BigInteger L =
            TWO.pow(252).add(new BigInteger("27742317777372353535851937790883648493"));
    /** The constant of the curve -x^2 + y^2 = 1 + d x^2 y^2. */
    private static final BigInteger D = new BigInteger(
            "37095705934669439343138083508754565189542113879843219016388785533085940283555");

    private Ed25519() {}

    /**
     * Returns the key with these bytes; null for a wrong length, a value that is not canonical, and
     * a point that is not on the curve or has a small order.
     */
    static PublicKey importKey(byte[] bytes) {
        if (bytes == null || !isUsablePoint(bytes)) return null;
        EdECPoint point = new EdECPoint((bytes[31] & 0x80) != 0, yOf(bytes));
        try {
            return KeyFactory.getInstance("Ed25519")
                    .generatePublic(new EdECPublicKeySpec(NamedParameterSpec.ED25519, point));
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException("this JDK has no Ed25519", error);
        }
    }

    /** Returns whether the signature is that of the message. */
    static boolean verify(PublicKey key, byte[] signature, byte[] message) {
        if (signature.length != 64) return false;
        byte[] encodedR = Arrays.copyOf(signature, 32);
        BigInteger s = littleEndian(Arrays.copyOfRange(signature, 32, 64));
        // A canonical R that is not of small order: then equal points have equal bytes.
        BigInteger r = yOf(encodedR);
        if (r.compareTo(P) >= 0 || hasSmallOrder(r) || s.compareTo(L) >= 0) return false;
        try {
            Signature verifier = Signature.getInstance("Ed25519");
            verifier.initVerify(key);
            verifier.update(message);
            return verifier.verify(signature);
        } catch (SignatureException error) {
            return false;
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException("this JDK has no Ed25519", error);
        }
    }

    /** Returns whether these bytes encode a point whose order is not small. */
    static boolean isUsablePoint(byte[] bytes) {
        if (bytes.length != 32) return false;
        BigInteger y = yOf(bytes);
        if (y.compareTo(P) >= 0 || hasSmallOrder(y)) return false;
        // x^2 = (y^2 - 1) / (d y^2 + 1) has a root when the product of both is a square (Euler).
        BigInteger square = y.multiply(y).mod(P);
        BigInteger product = square.subtract(ONE).multiply(D.multiply(square).add(ONE)).mod(P);
        return product.modPow(P.shiftRight(1), P).equals(ONE);
    }

    /**
     * Returns whether a point with this y has the order 1 or 2 (y = 1 or -1), 4 (y = 0), or 8 (its
     * double has y = 0, so x^2 = -y^2, and the equation becomes d y^4 + 2 y^2 - 1 = 0).
     */
    private static boolean hasSmallOrder(BigInteger y) {
        BigInteger square = y.multiply(y).mod(P);
        BigInteger eight =
                D.multiply(square).multiply(square).add(TWO.multiply(square)).subtract(ONE);
        return square.multiply(square.subtract(ONE)).multiply(eight).mod(P).signum() == 0;
    }

    /** Returns the y of an encoded point. The highest bit is the sign of x. */
    private static BigInteger yOf(byte[] bytes) {
        return littleEndian(bytes).clearBit(255);
    }

    private static BigInteger littleEndian(byte[] bytes) {
        byte[] reversed = new byte[bytes.length];
        for (int at = 0; at < bytes.length; at++) reversed[bytes.length - 1 - at] = bytes[at];
        return new BigInteger(1, reversed);
    }
}
