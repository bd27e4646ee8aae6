//! What is seen of events and channels, as lines and as objects.

use palisade_hosted::{Effect, Trace, Traffic};
use serde_json::{Value, json};

/// A line: `trace SECONDS KIND FROM > TO NAME: WHAT`.
pub(crate) fn line(trace: &Trace<'_>) -> String {
    let Trace { at, from, to, name, traffic } = trace;
    let what = match traffic {
        Traffic::Event { effect, times: 1 } => effect_name(*effect).to_owned(),
        Traffic::Event { effect, times } => format!("{}, raised {times} times", effect_name(*effect)),
        Traffic::Frame { length, what } => format!("{length} bytes, {what}"),
        Traffic::Unseen { frames } => format!("{frames} frames were overwritten before they were seen"),
        Traffic::Elements { count, size } => format!("{count} elements of {size} bytes"),
    };
    let kind = kind(traffic);
    format!("trace {}.{:06} {kind} {from} > {to} {name}: {what}", at.as_secs(), at.subsec_micros())
}

/// The same as an object of the stream.
pub(crate) fn object(trace: &Trace<'_>) -> Value {
    let Trace { at, from, to, name, traffic } = trace;
    let mut object = json!({
        "event": "trace",
        "seconds": at.as_secs_f64(),
        "kind": kind(traffic),
        "from": from,
        "to": to,
        "name": name,
    });
    match traffic {
        Traffic::Event { effect, times } => {
            object["effect"] = effect_name(*effect).into();
            object["times"] = (*times).into();
        }
        Traffic::Frame { length, what } => {
            object["bytes"] = (*length).into();
            object["what"] = what.as_str().into();
        }
        Traffic::Unseen { frames } => object["frames"] = (*frames).into(),
        Traffic::Elements { count, size } => {
            object["elements"] = (*count).into();
            object["bytes"] = (*size).into();
        }
    }
    object
}

fn kind(traffic: &Traffic) -> &'static str {
    match traffic {
        Traffic::Event { .. } => "event",
        Traffic::Frame { .. } => "frame",
        Traffic::Unseen { .. } => "unseen",
        Traffic::Elements { .. } => "data",
    }
}

fn effect_name(effect: Effect) -> &'static str {
    match effect {
        Effect::Wakes => "wakes",
        Effect::Restarts => "restarts",
        Effect::PowersOff => "powers off",
        Effect::Resets => "resets",
        Effect::Panics => "panics",
        Effect::Nothing => "nothing",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_says_when_what_from_whom_to_whom() {
        let trace = |traffic| Trace {
            at: Duration::from_micros(1_000_412),
            from: "website",
            to: "nic",
            name: "service|out_ready",
            traffic,
        };
        for (traffic, text) in [
            (
                Traffic::Event { effect: Effect::Wakes, times: 1 },
                "event website > nic service|out_ready: wakes",
            ),
            (
                Traffic::Event { effect: Effect::Restarts, times: 3 },
                "event website > nic service|out_ready: restarts, raised 3 times",
            ),
            (
                Traffic::Frame { length: 60, what: "ethertype 0x88cc".to_owned() },
                "frame website > nic service|out_ready: 60 bytes, ethertype 0x88cc",
            ),
            (
                Traffic::Elements { count: 2, size: 64 },
                "data website > nic service|out_ready: 2 elements of 64 bytes",
            ),
        ] {
            assert_eq!(line(&trace(traffic)), format!("trace 1.000412 {text}"));
        }
        let frame = object(&trace(Traffic::Frame { length: 60, what: "ethertype 0x88cc".to_owned() }));
        assert_eq!(
            (&frame["event"], &frame["kind"], &frame["bytes"]),
            (&json!("trace"), &json!("frame"), &json!(60))
        );
    }
}
