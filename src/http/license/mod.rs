//! Licenses, the keys that verify them, the lists of revoked ones, and the addresses of this
//! server.

use poem_openapi::OpenApi;

mod discovery;
mod etag;
mod keys;
pub(super) mod licenses;
mod recover;
mod status_lists;

/// Returns the operations of this area.
pub(super) fn apis() -> impl OpenApi + 'static {
    let keys = (keys::KeysApi, status_lists::StatusListsApi, discovery::DiscoveryApi);
    (licenses::LicensesApi, recover::RecoverApi, keys)
}
