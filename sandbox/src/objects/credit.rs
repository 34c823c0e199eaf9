//! Blank credit notes, and the transactions on a customer's and on the account's balance. Only the
//! shape: every key that Stripe returns, with its value when there is none.

use serde_json::{Value, json};

/// A blank credit note.
pub fn credit_note() -> Value {
    json!({
        "amount": 0,
        "amount_shipping": 0,
        "created": 0,
        "currency": "",
        "customer": "",
        "customer_account": null,
        "customer_balance_transaction": null,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": null,
        "id": "",
        "invoice": "",
        "lines": null,
        "livemode": false,
        "memo": null,
        "metadata": {},
        "number": "",
        "object": "credit_note",
        "out_of_band_amount": null,
        "pdf": "",
        "post_payment_amount": 0,
        "pre_payment_amount": 0,
        "pretax_credit_amounts": [],
        "reason": null,
        "refunds": [],
        "shipping_cost": null,
        "status": "issued",
        "subtotal": 0,
        "subtotal_excluding_tax": 0,
        "total": 0,
        "total_excluding_tax": 0,
        "total_taxes": null,
        "type": "pre_payment",
        "voided_at": null,
    })
}

/// A blank line of a credit note.
pub fn credit_note_line_item() -> Value {
    json!({
        "amount": 0,
        "description": "",
        "discount_amount": 0,
        "discount_amounts": [],
        "id": "",
        "invoice_line_item": null,
        "livemode": false,
        "metadata": null,
        "object": "credit_note_line_item",
        "pretax_credit_amounts": [],
        "quantity": 1,
        "tax_rates": [],
        "taxes": null,
        "type": "custom_line_item",
        "unit_amount": 0,
        "unit_amount_decimal": "0",
    })
}

/// A blank transaction on a customer's invoice balance.
pub fn customer_balance_transaction() -> Value {
    json!({
        "amount": 0,
        "checkout_session": null,
        "created": 0,
        "credit_note": null,
        "currency": "",
        "customer": "",
        "customer_account": null,
        "description": null,
        "ending_balance": 0,
        "id": "",
        "invoice": null,
        "livemode": false,
        "metadata": {},
        "object": "customer_balance_transaction",
        "type": "adjustment",
    })
}

/// A blank transaction on the account's own balance.
pub fn balance_transaction() -> Value {
    json!({
        "amount": 0,
        "available_on": 0,
        "balance_type": "payments",
        "created": 0,
        "currency": "",
        "description": null,
        "exchange_rate": null,
        "fee": 0,
        "fee_details": [],
        "id": "",
        "net": 0,
        "object": "balance_transaction",
        "reporting_category": "dispute",
        "source": "",
        "status": "available",
        "type": "adjustment",
    })
}
