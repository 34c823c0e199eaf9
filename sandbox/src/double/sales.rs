//! How vendors sell beside their own checkout sessions.

use serde_json::{Map, Value, json};

use super::Double;
use crate::billing::checkout::Paid;
use crate::billing::checks::ActionError;
use crate::billing::sales_actions::By;
use crate::billing::{actions, customer, sales_actions};
use crate::card::Card;
use crate::options::CouponDuration;

impl Double {
    /// Makes a customer by hand; returns the id.
    pub fn add_customer(&self, email: &str, metadata: &[(&str, &str)]) -> String {
        let pairs = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).into()));
        let metadata: Map<String, Value> = pairs.collect();
        let fields = json!({ "email": email, "metadata": metadata });
        self.shared.write(|world| customer::create(world, fields))
    }

    /// Makes a subscription by hand, which the card pays at once; returns its id.
    ///
    /// # Errors
    /// When there is no such customer or price. A declined card is no error; look at the
    /// subscription.
    pub fn subscribe(
        &self,
        customer: &str,
        price: &str,
        card: Card,
    ) -> Result<String, ActionError> {
        self.shared.write(|world| sales_actions::subscribe(world, customer, price, &By::Card(card)))
    }

    /// Makes a subscription whose invoices are sent, each to be paid within so many days; returns
    /// its id.
    ///
    /// # Errors
    /// When there is no such customer or price.
    pub fn subscribe_by_invoice(
        &self,
        customer: &str,
        price: &str,
        days_until_due: i64,
    ) -> Result<String, ActionError> {
        let by = By::Invoice(days_until_due);
        self.shared.write(|world| sales_actions::subscribe(world, customer, price, &by))
    }

    /// Makes a quote that the customer accepts; returns the subscription. Without days until due,
    /// the card that [`Double::replace_card`] gave the customer pays at once.
    ///
    /// # Errors
    /// When there is no such customer or price.
    pub fn sell_by_quote(
        &self,
        customer: &str,
        price: &str,
        days_until_due: Option<i64>,
    ) -> Result<String, ActionError> {
        self.shared
            .write(|world| sales_actions::sell_by_quote(world, customer, price, days_until_due))
    }

    /// Makes a payment link that sells a price; returns its id.
    ///
    /// # Errors
    /// When there is no such price.
    pub fn add_payment_link(&self, price: &str) -> Result<String, ActionError> {
        self.shared.write(|world| sales_actions::add_payment_link(world, price))
    }

    /// Opens a payment link; returns the checkout session, which names no customer.
    ///
    /// # Errors
    /// When there is no such link, or it is not active.
    pub fn open_payment_link(
        &self,
        link: &str,
        client_reference_id: Option<&str>,
    ) -> Result<String, ActionError> {
        self.shared
            .write(|world| sales_actions::open_payment_link(world, link, client_reference_id))
    }

    /// Pays an open checkout session as somebody with this email, if the session does not name one.
    ///
    /// # Errors
    /// When there is no such session, or it is not open.
    pub fn pay_as(&self, session: &str, card: Card, email: &str) -> Result<Paid, ActionError> {
        self.shared.write(|world| actions::pay(world, session, card, email))
    }

    /// Makes a coupon that takes so many percent off.
    pub fn add_coupon(&self, id: &str, percent_off: i64, duration: CouponDuration) {
        self.shared.write(|world| sales_actions::add_coupon(world, id, percent_off, duration));
    }

    /// Makes a promotion code for a coupon; returns its id.
    ///
    /// # Errors
    /// When there is no such coupon.
    pub fn add_promotion_code(&self, coupon: &str, code: &str) -> Result<String, ActionError> {
        self.shared.write(|world| sales_actions::add_promotion_code(world, coupon, code))
    }

    /// Enters a promotion code on the page of a checkout session.
    ///
    /// # Errors
    /// When the session is not open or takes no codes, or there is no such code.
    pub fn enter_promotion_code(&self, session: &str, code: &str) -> Result<(), ActionError> {
        self.shared.write(|world| sales_actions::enter_promotion_code(world, session, code))
    }

    /// Gives a subscription a discount from its next invoice on; returns the discount's id.
    ///
    /// # Errors
    /// When there is no such coupon, or the subscription cannot be changed.
    pub fn discount(&self, subscription: &str, coupon: &str) -> Result<String, ActionError> {
        self.shared.write(|world| sales_actions::give_discount(world, subscription, coupon))
    }
}
