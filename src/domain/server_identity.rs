//! What licenses say about the server. The servers record it in the database, and commands use what
//! is recorded: their own settings may be others.

use crate::domain::column::row;

row! {
    /// What licenses say about the server.
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
