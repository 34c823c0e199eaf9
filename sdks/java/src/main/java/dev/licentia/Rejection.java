package dev.licentia;

/** Thrown and caught within this package: the first rule that a document breaks. */
final class Rejection extends Exception {
    private static final long serialVersionUID = 1;

    final Code code;

    Rejection(Code code) {
        super(code.toString(), null, false, false);
        this.code = code;
    }
}
