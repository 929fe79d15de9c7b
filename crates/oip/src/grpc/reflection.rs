//! Reflection: what this server's services and messages are, for tools such as `grpcurl`.

use tonic::service::Routes;
use tonic_reflection::server::Builder;

use super::DESCRIPTOR;

/// Adds reflection in both versions that clients speak.
pub(super) fn add_to(routes: Routes) -> Routes {
    let routes = match builder().build_v1() {
        Ok(service) => routes.add_service(service),
        Err(error) => without(routes, &error),
    };
    match builder().build_v1alpha() {
        Ok(service) => routes.add_service(service),
        Err(error) => without(routes, &error),
    }
}

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTOR)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// The descriptors are our own and tests read them, so this does not come to pass.
fn without(routes: Routes, error: &tonic_reflection::server::Error) -> Routes {
    tracing::error!(%error, "the descriptors cannot be read; reflection is not served");
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptors_can_be_read() {
        assert!(builder().build_v1().is_ok() && builder().build_v1alpha().is_ok());
    }
}
