//! `CLIENT TRACKING` and what goes with it.

use crate::executor::{Cx, Fail, Outcome, error};
use crate::session::{self, flag, tracking as index};
use crate::util::numbers::string2ll;

const NO_PREFIX: &str = "ERR PREFIX option requires BCAST mode to be enabled";
const SWITCHED_BCAST: &str = "ERR You can't switch BCAST mode on/off before disabling tracking for \
                              this client, and then re-enabling it with a different mode.";
const SWITCHED_OPT: &str = "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for \
                            this client, and then re-enabling it with a different mode.";
const NOT_TRACKING: &str = "ERR CLIENT CACHING can be called only when the client is in tracking \
                            mode with OPTIN or OPTOUT mode enabled";

/// `CLIENT CACHING <YES | NO>`: instruct the server about tracking or not keys in the next request.
pub fn caching(cx: &mut Cx<'_>) -> Outcome {
    let record = cx.session_record();
    if !record.is(flag::TRACKING) {
        return Err(NOT_TRACKING.into());
    }
    let (yes, no) = (cx.args.is(2, "yes"), cx.args.is(2, "no"));
    if yes && !record.is(flag::TRACKING_OPTIN) {
        let text = "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.";
        return Err(text.into());
    }
    if no && !record.is(flag::TRACKING_OPTOUT) {
        let text = "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";
        return Err(text.into());
    }
    if !yes && !no {
        return Err(error::SYNTAX);
    }
    session::change_flags(&mut cx.tx, cx.session, 0, flag::TRACKING_CACHING)?;
    cx.reply.ok();
    Ok(())
}

/// `CLIENT GETREDIR`: get tracking notifications redirection client ID if any.
pub fn getredir(cx: &mut Cx<'_>) -> Outcome {
    let id = redirect(cx);
    cx.reply.integer(id);
    Ok(())
}

/// The client to which invalidations go: 0 for the client itself, -1 without tracking.
fn redirect(cx: &Cx<'_>) -> i64 {
    let record = cx.session_record();
    if record.is(flag::TRACKING) { record.tracking_redirect.get().to_native() as i64 } else { -1 }
}

/// What `CLIENT TRACKING` was given behind `ON` or `OFF`.
#[derive(Default)]
struct Options<'a> {
    redirect: i64,
    modes: u64,
    prefixes: Vec<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(cx: &mut Cx<'a>) -> Result<Options<'a>, Fail> {
        let mut options = Options::default();
        let mut at = 3;
        while let Some(word) = cx.args.get(at) {
            let value = cx.args.get(at + 1);
            at += 1;
            match (word.to_ascii_lowercase().as_slice(), value) {
                (b"redirect", Some(id)) => {
                    at += 1;
                    options.set_redirect(cx, id)?;
                }
                (b"prefix", Some(prefix)) => {
                    at += 1;
                    options.prefixes.push(prefix);
                }
                (b"bcast", _) => options.modes |= flag::TRACKING_BCAST,
                (b"optin", _) => options.modes |= flag::TRACKING_OPTIN,
                (b"optout", _) => options.modes |= flag::TRACKING_OPTOUT,
                (b"noloop", _) => options.modes |= flag::TRACKING_NOLOOP,
                _ => return Err(error::SYNTAX),
            }
        }
        Ok(options)
    }

    fn set_redirect(&mut self, cx: &mut Cx<'_>, id: &[u8]) -> Outcome {
        if self.redirect != 0 {
            return Err("ERR A client can only redirect to a single other client".into());
        }
        let id = string2ll(id).ok_or(error::NOT_INTEGER)?;
        if cx.state.clients.find(&cx.tx, cx.root, id as u64).is_none() {
            return Err("ERR The client ID you want redirect to does not exist".into());
        }
        self.redirect = id;
        Ok(())
    }

    fn is(&self, modes: u64) -> bool {
        self.modes & modes != 0
    }

    /// Whether the options go together, and with the state of the client.
    fn check(&self, cx: &Cx<'_>) -> Outcome {
        let record = cx.session_record();
        let bcast = self.is(flag::TRACKING_BCAST);
        if !bcast && !self.prefixes.is_empty() {
            return Err(NO_PREFIX.into());
        }
        if record.is(flag::TRACKING) && record.is(flag::TRACKING_BCAST) != bcast {
            return Err(SWITCHED_BCAST.into());
        }
        let (optin, optout) = (self.is(flag::TRACKING_OPTIN), self.is(flag::TRACKING_OPTOUT));
        if bcast && (optin || optout) {
            return Err("ERR OPTIN and OPTOUT are not compatible with BCAST".into());
        }
        if optin && optout {
            return Err("ERR You can't specify both OPTIN mode and OPTOUT mode".into());
        }
        if (optin && record.is(flag::TRACKING_OPTOUT))
            || (optout && record.is(flag::TRACKING_OPTIN))
        {
            return Err(SWITCHED_OPT.into());
        }
        self.check_prefixes(cx)
    }

    fn check_prefixes(&self, cx: &Cx<'_>) -> Outcome {
        let existing = index::prefixes(&cx.tx, cx.session);
        for (position, prefix) in self.prefixes.iter().enumerate() {
            if let Some(other) = existing.iter().find(|other| overlap(other, prefix)) {
                return Err(collision(prefix, "an existing prefix", other));
            }
            let others = &self.prefixes[position + 1..];
            if let Some(other) = others.iter().find(|other| overlap(other, prefix)) {
                return Err(collision(prefix, "another provided prefix", other));
            }
        }
        Ok(())
    }
}

fn overlap(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn collision(prefix: &[u8], what: &str, other: &[u8]) -> Fail {
    let printable = |word: &[u8]| {
        let end = word.iter().position(|byte| *byte == 0).unwrap_or(word.len());
        word[..end].to_vec()
    };
    let mut text = b"ERR Prefix '".to_vec();
    text.extend(printable(prefix));
    text.extend(format!("' overlaps with {what} '").bytes());
    text.extend(printable(other));
    text.extend(b"'. Prefixes for a single client must not overlap.");
    Fail::Bytes(text)
}

/// `CLIENT TRACKING <ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST]
/// [OPTIN] [OPTOUT] [NOLOOP]`: enable or disable server assisted client side caching support.
pub fn tracking(cx: &mut Cx<'_>) -> Outcome {
    let options = Options::parse(cx)?;
    if cx.args.is(2, "on") {
        options.check(cx)?;
        let (redirect, modes) = (options.redirect as u64, options.modes);
        index::enable(&mut cx.tx, cx.root, cx.session, redirect, modes, &options.prefixes)?;
    } else if cx.args.is(2, "off") {
        index::disable(&mut cx.tx, cx.root, cx.session)?;
    } else {
        return Err(error::SYNTAX);
    }
    cx.reply.ok();
    Ok(())
}

/// `CLIENT TRACKINGINFO`: return information about server assisted client side caching for the
/// current connection.
pub fn trackinginfo(cx: &mut Cx<'_>) -> Outcome {
    let record = cx.session_record();
    let caching = record.is(flag::TRACKING_CACHING);
    let mut words = vec![if record.is(flag::TRACKING) { "on" } else { "off" }];
    let mut add = |holds: bool, word| {
        if holds {
            words.push(word);
        }
    };
    let (optin, optout) = (record.is(flag::TRACKING_OPTIN), record.is(flag::TRACKING_OPTOUT));
    add(record.is(flag::TRACKING_BCAST), "bcast");
    add(optin, "optin");
    add(optin && caching, "caching-yes");
    add(optout, "optout");
    add(optout && caching, "caching-no");
    add(record.is(flag::TRACKING_NOLOOP), "noloop");
    add(record.is(flag::TRACKING_BROKEN), "broken_redirect");
    let (redirect, prefixes) = (redirect(cx), index::prefixes(&cx.tx, cx.session));
    cx.reply.map(3);
    cx.reply.bulk(b"flags");
    cx.reply.set(words.len());
    words.iter().for_each(|word| cx.reply.bulk(word.as_bytes()));
    cx.reply.bulk(b"redirect");
    cx.reply.integer(redirect);
    cx.reply.bulk(b"prefixes");
    cx.reply.array(prefixes.len());
    prefixes.iter().for_each(|prefix| cx.reply.bulk(prefix));
    Ok(())
}
