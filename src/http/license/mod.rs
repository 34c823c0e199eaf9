//! Licenses, the keys that verify them, and the addresses of this server.

use poem_openapi::OpenApi;

mod discovery;
mod keys;
pub(super) mod licenses;
mod recover;

/// Returns the operations of this area.
pub(super) fn apis() -> impl OpenApi + 'static {
    (licenses::LicensesApi, recover::RecoverApi, keys::KeysApi, discovery::DiscoveryApi)
}
