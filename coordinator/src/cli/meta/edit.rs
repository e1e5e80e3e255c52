//! `metafleet meta set`, `unset` and `add`

use broker_config::MetaValue;
use broker_config::meta::MAX_JSON_DEPTH;
use jiff::Timestamp;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::file::OneFile;
use super::super::session;
use crate::person::{Change, NoSuchKey};

pub(crate) async fn run(app: &App, file: &OneFile, changes: Vec<Change>) -> Result<Exit, Failure> {
    session::with(app, async |session| {
        let cid = file.cid(&session.store).await?;
        let now = Timestamp::now().to_string();
        session
            .store
            .edit_user(&cid, &now, |record, sources| {
                changes.iter().try_for_each(|change| {
                    change.apply(record, sources).map_err(|NoSuchKey(key)| {
                        Failure::not_found(format!("`{}` has no key `{key}`", file.shown()))
                    })
                })
            })
            .await?;
        Ok(Exit::Ok)
    })
    .await
}

/// The value that was typed.
pub(crate) fn value(values: Vec<String>, is_json: bool) -> Result<MetaValue, Failure> {
    let mut values = values.into_iter();
    match (values.next(), values.len()) {
        (Some(text), 0) if is_json => {
            let value: MetaValue = serde_json::from_str(&text)
                .map_err(|error| Failure::usage(format!("the value is not JSON: {error}")))?;
            // Nobody could read it again.
            if value.is_too_deep() {
                let rule = format!("the value nests deeper than {MAX_JSON_DEPTH}");
                return Err(Failure::usage(rule));
            }
            Ok(value)
        }
        (Some(_), _) if is_json => Err(Failure::usage("--json takes one value")),
        (Some(text), 0) => Ok(MetaValue::Text(text)),
        (first, _) => Ok(MetaValue::Set(first.into_iter().chain(values).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_typed_as_text_set_or_json() {
        let list = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
        let set = MetaValue::Set(["a".to_owned(), "b".to_owned()].into());
        for (values, is_json, expected) in [
            (vec!["a"], false, MetaValue::Text("a".into())),
            (vec!["1"], false, MetaValue::Text("1".into())),
            (vec!["a", "b"], false, set.clone()),
            (vec![r#"["a","b"]"#], true, set),
            (vec![r#"{"x":1}"#], true, MetaValue::Json(serde_json::json!({"x": 1}))),
        ] {
            assert_eq!(value(list(&values), is_json).unwrap(), expected, "{values:?}");
        }
        let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
        for values in [vec!["{"], vec!["1", "2"], vec![deep.as_str()]] {
            assert_eq!(value(list(&values), true).unwrap_err().exit, Exit::Usage);
        }
    }
}
