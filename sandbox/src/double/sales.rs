//! The vendor's actions without Checkout: customers, subscriptions, quotes, payment links,
//! discounts.

use serde_json::{Map, Value, json};

use super::Double;
use crate::billing::checkout::Paid;
use crate::billing::checks::ActionError;
use crate::billing::sales_actions::CollectionMethod;
use crate::billing::{actions, customer, sales_actions};
use crate::card::Card;
use crate::options::{AccountSettings, CouponDuration, Proration};
use crate::world::BuyerDetails;

impl Double {
    /// Creates a customer. Returns its id.
    pub fn add_customer(&self, email: &str, metadata: &[(&str, &str)]) -> String {
        let pairs = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).into()));
        let metadata: Map<String, Value> = pairs.collect();
        let fields = json!({ "email": email, "metadata": metadata });
        self.shared.write(|world| customer::create(world, fields))
    }

    /// Creates a subscription that the card pays at once. Returns its id.
    ///
    /// # Errors
    /// When there is no such customer or price. A declined card is no error: the subscription stays
    /// incomplete.
    pub fn subscribe(
        &self,
        customer: &str,
        price: &str,
        card: Card,
    ) -> Result<String, ActionError> {
        self.shared.write(|world| {
            sales_actions::subscribe(world, customer, price, &CollectionMethod::Card(card))
        })
    }

    /// Creates a subscription with sent invoices, each due after so many days. Returns its id.
    ///
    /// # Errors
    /// When there is no such customer or price.
    pub fn subscribe_by_invoice(
        &self,
        customer: &str,
        price: &str,
        days_until_due: i64,
    ) -> Result<String, ActionError> {
        let by = CollectionMethod::Invoice(days_until_due);
        self.shared.write(|world| sales_actions::subscribe(world, customer, price, &by))
    }

    /// Creates a quote that the customer accepts. Returns the subscription. Without
    /// `days_until_due`, it is charged to the card from [`Double::replace_card`].
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

    /// Creates a payment link for a price. One that does not recur is paid once, without an
    /// invoice: the buyer is a guest. Returns the link's id.
    ///
    /// # Errors
    /// When there is no such price.
    pub fn add_payment_link(&self, price: &str) -> Result<String, ActionError> {
        self.shared.write(|world| sales_actions::add_payment_link(world, price))
    }

    /// Opens a payment link. Returns the checkout session, which has no customer yet.
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

    /// Pays an open checkout session. `email` is used for the customer if the session has none.
    ///
    /// # Errors
    /// When there is no such session, or it is not open.
    pub fn pay_as(&self, session: &str, card: Card, email: &str) -> Result<Paid, ActionError> {
        self.shared.write(|world| actions::pay(world, session, card, email))
    }

    /// Creates a coupon for a percentage.
    pub fn add_coupon(&self, id: &str, percent_off: i64, duration: CouponDuration) {
        self.shared.write(|world| sales_actions::add_coupon(world, id, percent_off, duration));
    }

    /// Creates a promotion code for a coupon. Returns its id.
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

    /// Enters the buyer's details on the page of a checkout session. Without a country, taxes are
    /// computed for the card's when the session is paid.
    ///
    /// # Errors
    /// When the session is not open or does not collect a detail, or a detail has no valid form.
    pub fn enter_details(&self, session: &str, details: BuyerDetails) -> Result<(), ActionError> {
        self.shared.write(|world| sales_actions::enter_details(world, session, details))
    }

    /// Sets what the account is set up for, as in the dashboard.
    pub fn set_account(&self, account: AccountSettings) {
        self.shared.write(|world| world.account = account);
    }

    /// Chooses the number of units of a price on the page of a checkout session.
    ///
    /// # Errors
    /// When the session is not open or does not sell the price, or the quantity is fixed or outside
    /// of its limits.
    pub fn choose_quantity(
        &self,
        session: &str,
        price: &str,
        quantity: i64,
    ) -> Result<(), ActionError> {
        self.shared.write(|world| sales_actions::choose_quantity(world, session, price, quantity))
    }

    /// Changes the quantity of a subscription's item, as the portal and the dashboard do. The
    /// dashboard can leave the billing to the next invoice, or not bill the change at all.
    ///
    /// # Errors
    /// When the subscription cannot be changed or has no such item, or the quantity is negative or
    /// above 999,999.
    pub fn set_quantity(
        &self,
        subscription: &str,
        item: &str,
        quantity: i64,
        proration: Proration,
    ) -> Result<(), ActionError> {
        self.shared
            .write(|world| actions::set_quantity(world, subscription, item, quantity, proration))
    }

    /// Adds an item to a subscription, as the dashboard does. Returns the item's id.
    ///
    /// # Errors
    /// When the subscription cannot be changed or has an item with this price, or the price does
    /// not recur or is not sold in its currency.
    pub fn add_item(
        &self,
        subscription: &str,
        price: &str,
        quantity: i64,
        proration: Proration,
    ) -> Result<String, ActionError> {
        self.shared
            .write(|world| actions::add_item(world, subscription, price, quantity, proration))
    }

    /// Removes an item from a subscription, as the dashboard does.
    ///
    /// # Errors
    /// When the subscription cannot be changed, has no such item, or has no other.
    pub fn remove_item(
        &self,
        subscription: &str,
        item: &str,
        proration: Proration,
    ) -> Result<(), ActionError> {
        self.shared.write(|world| actions::remove_item(world, subscription, item, proration))
    }

    /// Adds usage of a metered price to the current period of a subscription. It is billed at the
    /// period's end, or when its amount reaches the subscription's `billing_thresholds`.
    ///
    /// # Errors
    /// When the subscription cannot be changed, or does not have the price.
    pub fn add_usage(
        &self,
        subscription: &str,
        price: &str,
        units: i64,
    ) -> Result<(), ActionError> {
        self.shared.write(|world| sales_actions::add_usage(world, subscription, price, units))
    }

    /// Gives a subscription a discount from its next invoice on. Returns the discount's id.
    ///
    /// # Errors
    /// When there is no such coupon, or the subscription cannot be changed.
    pub fn discount(&self, subscription: &str, coupon: &str) -> Result<String, ActionError> {
        self.shared.write(|world| sales_actions::give_discount(world, subscription, coupon))
    }
}
