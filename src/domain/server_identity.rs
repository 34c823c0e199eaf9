//! The server's identity in licenses. Servers record it in the database. Commands use the record in
//! place of their own settings, which may differ.

use crate::domain::column::row;

row! {
    /// The settings of the server that every license contains.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ServerIdentity {
        /// The origin of its status lists, and of links: the setting `public_url`.
        pub public_url: String,
        /// The claim `iss`.
        pub issuer: String,
        /// The claim `aud`.
        pub product: String,
        /// The name of the signature algorithm, in the header.
        pub algorithm: String,
    }
}
