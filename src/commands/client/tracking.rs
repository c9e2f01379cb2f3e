//! `CLIENT TRACKING` and what goes with it.

use crate::commands::not_implemented;
use crate::executor::{Cx, Outcome};

/// `CLIENT CACHING <YES | NO>`: instruct the server about tracking or not keys in the next request.
pub fn caching(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT GETREDIR`: get tracking notifications redirection client ID if any.
pub fn getredir(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT TRACKING <ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST]
/// [OPTIN] [OPTOUT] [NOLOOP]`: enable or disable server assisted client side caching support.
pub fn tracking(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}

/// `CLIENT TRACKINGINFO`: return information about server assisted client side caching for the
/// current connection.
pub fn trackinginfo(_cx: &mut Cx<'_>) -> Outcome {
    not_implemented()
}
