//! PURE: the images of a plugin.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use crate::transition::Versions;
use crate::transition::pick::pick;

/// What the containers of a plugin are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Images {
    /// One image, whatever version is in it: another one takes its place as a whole.
    One(String),
    /// One for each version, so that two can run beside each other; what was decided on versions
    /// says which do.
    ByVersion(BTreeMap<Version, String>),
}

/// An image that is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its name.
    pub image: String,
    /// The version that must be in it; `None` = any.
    pub version: Option<Version>,
}

impl Images {
    /// The versions that can be chosen from.
    #[must_use]
    pub fn versions(&self) -> BTreeSet<Version> {
        match self {
            Self::One(_) => BTreeSet::new(),
            Self::ByVersion(images) => images.keys().cloned().collect(),
        }
    }

    /// The image of a version, or of the highest if there is none of it.
    #[must_use]
    pub fn of(&self, version: Option<&Version>) -> Option<&str> {
        match self {
            Self::One(image) => Some(image),
            Self::ByVersion(images) => {
                let named = version.and_then(|version| images.get(version));
                named.or_else(|| images.values().next_back()).map(String::as_str)
            }
        }
    }

    /// The image that does the work, or is to do it, and the one that is tried beside it; `None` if
    /// there is no image at all.
    #[must_use]
    pub fn choose(&self, decided: Option<&Versions>) -> Option<(Chosen, Option<Chosen>)> {
        let images = match self {
            Self::One(image) => {
                return Some((Chosen { image: image.clone(), version: None }, None));
            }
            Self::ByVersion(images) => images,
        };
        let chosen = |version: &Version| {
            let (image, version) = (images.get(version)?.clone(), Some(version.clone()));
            Some(Chosen { image, version })
        };
        let picked = pick(&self.versions(), decided)?;
        Some((chosen(&picked.main)?, picked.next.as_ref().and_then(chosen)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transition::How;
    use crate::transition::state::tests::{under_way, version};

    #[test]
    fn what_was_decided_says_which_image_runs() {
        let by_version = |versions: &[&str]| {
            let images = versions.iter().map(|text| (version(text), format!("x:{text}")));
            Images::ByVersion(images.collect())
        };
        let one = Images::One("x".to_owned());
        let both = by_version(&["1.0.0", "2.0.0"]);
        for (case, images, decided, main, next) in [
            ("one for all", &one, Some(under_way(How::Gradual)), Some("x"), None),
            ("nothing decided: the highest", &both, None, Some("x:2.0.0"), None),
            ("tried", &both, Some(under_way(How::BlueGreen)), Some("x:1.0.0"), Some("x:2.0.0")),
            ("taken over", &both, Some(under_way(How::Graceful)), Some("x:2.0.0"), None),
            ("none", &by_version(&[]), None, None, None),
        ] {
            let (now, beside) = images.choose(decided.as_ref()).unzip();
            assert_eq!(now.map(|it| it.image).as_deref(), main, "{case}");
            assert_eq!(beside.flatten().map(|it| it.image).as_deref(), next, "{case}");
        }
    }
}
