//! What happens, in words.

use super::broker::{Body, Happening, Message};

pub(super) fn happening(happening: &Happening) -> String {
    match happening {
        Happening::Stored { stream, message, scheduled } => {
            let how = if *scheduled { " as scheduled" } else { "" };
            format!("stored{how} in {stream:?}: {}", text(message))
        }
        Happening::Removed { stream, message, why } => {
            format!("gone from {stream:?}, {why:?}: {}", text(message))
        }
        Happening::Delivered { stream, message, delivered, .. } => {
            format!("delivered from {stream:?}, time {delivered}: {}", text(message))
        }
        Happening::Acknowledged { stream, message } => {
            format!("acknowledged in {stream:?}: {}", text(message))
        }
        Happening::CameBack { stream, message } => {
            format!("came back in {stream:?}: {}", text(message))
        }
    }
}

fn text(message: &Message) -> String {
    let Message { subject, sequence, headers, body, .. } = message;
    let body = match body {
        Body::Task(task) => format!("task {} over {}", task.task_id, task.record_revision),
        Body::Record(record) => format!("{:?} of {}", record.status, record.task_id),
        Body::Settled { run, plugins } => format!("run {run} settled {plugins:?}"),
        Body::Rejected(run) => format!("run {run} rejected"),
        Body::Advisory(sequence) => format!("exhausted {sequence}"),
        Body::Lease(lease) => format!("{} leads in epoch {}", lease.holder, lease.epoch),
        Body::Junk => "junk".to_owned(),
        Body::Submission(_) | Body::Signal(_) | Body::Told | Body::Letter(_) => String::new(),
    };
    let fence = headers.expected.map(|expected| format!(" after {expected}")).unwrap_or_default();
    format!("{subject} #{sequence}{fence} {body}")
}
