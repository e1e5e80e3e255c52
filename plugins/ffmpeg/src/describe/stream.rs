//! PURE  one stream as metadata.

use worker_sdk::Meta;

use super::value::{clock, decimal, fraction, seconds, text_opt, whole};
use crate::ffprobe::Stream;

/// Writes the properties of the `n`-th video stream.
pub fn video(meta: &mut Meta, n: usize, stream: &Stream) {
    let mut write = writer(meta, "video", n);
    common(&mut write, stream);
    write("width", stream.width.filter(|size| *size > 0).map(|size| size.to_string()));
    write("height", stream.height.filter(|size| *size > 0).map(|size| size.to_string()));
    write("aspect", aspect(stream));
    write("frameRate", frame_rate(stream));
    write("pixelFormat", text_opt(stream.pix_fmt.as_deref()));
    write("bitDepth", video_depth(stream));
    write("fieldOrder", text_opt(stream.field_order.as_deref()));
    write("colorSpace", text_opt(stream.color_space.as_deref()));
    write("colorTransfer", text_opt(stream.color_transfer.as_deref()));
    write("colorPrimaries", text_opt(stream.color_primaries.as_deref()));
    write("hdrType", hdr_type(stream).map(str::to_owned));
    write("rotation", stream.side_data_list.iter().find_map(|data| data.rotation).map(decimal));
}

/// Writes the properties of the `n`-th audio stream.
pub fn audio(meta: &mut Meta, n: usize, stream: &Stream) {
    let mut write = writer(meta, "audio", n);
    common(&mut write, stream);
    write("channels", stream.channels.filter(|count| *count > 0).map(|count| count.to_string()));
    write("channelLayout", text_opt(stream.channel_layout.as_deref()));
    write("sampleRate", stream.sample_rate.as_deref().and_then(whole));
    let depth = stream.bits_per_sample.filter(|bits| *bits > 0).map(|bits| bits.to_string());
    write("bitDepth", depth.or_else(|| stream.bits_per_raw_sample.as_deref().and_then(whole)));
    write("commentary", Some(stream.is("comment").to_string()));
    write("visualImpaired", Some(stream.is("visual_impaired").to_string()));
}

/// Writes the properties of the `n`-th subtitle stream.
pub fn subtitle(meta: &mut Meta, n: usize, stream: &Stream) {
    let mut write = writer(meta, "subtitle", n);
    common(&mut write, stream);
    write("hearingImpaired", Some(stream.is("hearing_impaired").to_string()));
}

/// The language of a stream, as the file says it, in lower case; `und` is none.
#[must_use]
pub fn language(stream: &Stream) -> Option<String> {
    let language = stream.tag("language")?.trim().to_lowercase();
    let code = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let known = (2..=35).contains(&language.len())
        && language.chars().all(code)
        && !matches!(language.as_str(), "und" | "unk" | "mis" | "zxx");
    known.then_some(language)
}

fn writer<'a>(
    meta: &'a mut Meta,
    kind: &'a str,
    n: usize,
) -> impl FnMut(&str, Option<String>) + 'a {
    move |property, value| {
        meta.text_opt(format!("fileinfo/streamdetails/{kind}/{n}/{property}"), value);
    }
}

/// What streams of every kind may have.
fn common(write: &mut impl FnMut(&str, Option<String>), stream: &Stream) {
    write("codec", text_opt(stream.codec_name.as_deref()));
    write("profile", text_opt(stream.profile.as_deref()));
    write("bitRate", bit_rate(stream));
    write("duration", duration(stream));
    write("language", language(stream));
    write("title", text_opt(stream.tag("title")));
    write("default", Some(stream.is("default").to_string()));
    write("forced", Some(stream.is("forced").to_string()));
}

/// Matroska says durations and bit rates of streams in tags.
fn duration(stream: &Stream) -> Option<String> {
    let given = stream.duration.as_deref().and_then(seconds);
    given.or_else(|| stream.tag("DURATION").and_then(clock))
}

fn bit_rate(stream: &Stream) -> Option<String> {
    let given = stream.bit_rate.as_deref().and_then(whole);
    given.or_else(|| stream.tag("BPS").and_then(whole))
}

fn aspect(stream: &Stream) -> Option<String> {
    text_opt(stream.display_aspect_ratio.as_deref()).filter(|ratio| !ratio.starts_with("0:"))
}

fn frame_rate(stream: &Stream) -> Option<String> {
    let average = stream.avg_frame_rate.as_deref().and_then(fraction);
    average.or_else(|| stream.r_frame_rate.as_deref().and_then(fraction))
}

/// Bits of one component: as the codec says, or as the pixel format's name ends (`yuv420p10le`).
fn video_depth(stream: &Stream) -> Option<String> {
    if let Some(bits) = stream.bits_per_raw_sample.as_deref().and_then(whole) {
        return Some(bits);
    }
    let format = stream.pix_fmt.as_deref()?;
    if !["yuv", "gbrp", "nv", "p0"].iter().any(|family| format.starts_with(family)) {
        return None;
    }
    let Some(name) = format.strip_suffix("le").or_else(|| format.strip_suffix("be")) else {
        return Some("8".to_owned());
    };
    let digits = name.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    whole(digits)
}

fn hdr_type(stream: &Stream) -> Option<&'static str> {
    if stream.side_data_list.iter().any(|data| data.side_data_type.starts_with("DOVI")) {
        return Some("dolbyvision");
    }
    match stream.color_transfer.as_deref() {
        Some("smpte2084") => Some("hdr10"),
        Some("arib-std-b67") => Some("hlg"),
        Some(_) | None => None,
    }
}
