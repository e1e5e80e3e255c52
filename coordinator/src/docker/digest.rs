//! PURE: the digest of an image in its registry.
//!
//! An image that was pulled is known by the digest of its manifest there, the same on every machine; one
//! that was only built or loaded here has none.

/// Where an image is when its name names no registry, and the folder of those without an owner.
const HUB: (&str, &str) = ("docker.io", "library");

/// The digest by which the repository of `image` knows it: the right one of those that the engine
/// lists, each as `repository@digest`.
#[must_use]
pub fn digest_of(image: &str, listed: &[String]) -> Option<String> {
    let wanted = repository(image);
    let found = listed.iter().filter_map(|one| one.split_once('@'));
    let mut its = found.filter(|(name, _)| repository(name) == wanted).map(|(_, digest)| digest);
    // A name with a digest says which.
    match image.split_once('@') {
        Some((_, named)) => its.find(|digest| *digest == named).map(str::to_owned),
        None => its.next().map(str::to_owned),
    }
}

/// The repository that an image's name stands for, in full.
fn repository(image: &str) -> String {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    // A colon before the last slash belongs to the registry's port.
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => (HUB.0, name),
    };
    let registry = if registry == "index.docker.io" { HUB.0 } else { registry };
    if registry == HUB.0 && !path.contains('/') {
        return format!("{registry}/{}/{path}", HUB.1);
    }
    format!("{registry}/{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_the_digest_of_its_own_repository() {
        for (image, listed, expected) in [
            ("r.example:5000/a/b:1", &["r.example:5000/a/b@sha256:1"] as &[&str], Some("sha256:1")),
            ("r.example:5000/a/b", &["r.example:5000/a/b@sha256:1"], Some("sha256:1")),
            ("alpine", &["alpine@sha256:1"], Some("sha256:1")),
            // As Podman says it.
            ("alpine:3", &["docker.io/library/alpine@sha256:1"], Some("sha256:1")),
            ("index.docker.io/me/x", &["me/x@sha256:1"], Some("sha256:1")),
            ("localhost/x:1", &["localhost/x@sha256:1"], Some("sha256:1")),
            // The same content is in another repository, too.
            ("a/x:1", &["b/x@sha256:2", "a/x@sha256:1"], Some("sha256:1")),
            ("a/x@sha256:2", &["a/x@sha256:1", "a/x@sha256:2"], Some("sha256:2")),
            ("a/x:1@sha256:2", &["a/x@sha256:1", "a/x@sha256:2"], Some("sha256:2")),
            // Built here, or pulled under another name.
            ("a/x:1", &[], None),
            ("a/x:1", &["b/x@sha256:2"], None),
            ("127.0.0.1:5000/x:1", &["127.0.0.1:6000/x@sha256:1"], None),
            ("a/x:1", &["<none>"], None),
        ] {
            let listed: Vec<String> = listed.iter().map(|one| (*one).to_owned()).collect();
            assert_eq!(digest_of(image, &listed).as_deref(), expected, "{image} {listed:?}");
        }
    }
}
