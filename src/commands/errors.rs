//! Errors about requests that never reach a handler.

use super::spec::CommandSpec;

/// No more bytes than this of any word that a client sent are quoted.
const QUOTED: usize = 128;

/// There is no command of this name; `args` are the words behind it.
pub fn unknown_command<'a>(name: &[u8], args: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut message = b"ERR unknown command '".to_vec();
    message.extend(c_string(name, QUOTED));
    message.extend(b"', with args beginning with: ");
    let start = message.len();
    for arg in args {
        let used = message.len() - start;
        if used >= QUOTED {
            break;
        }
        message.push(b'\'');
        message.extend(c_string(arg, QUOTED - used));
        message.extend(b"' ");
    }
    message
}

/// The container has no subcommand of this name.
pub fn unknown_subcommand(container: &CommandSpec, name: &[u8]) -> Vec<u8> {
    let mut message = b"ERR unknown subcommand '".to_vec();
    message.extend(c_string(name, QUOTED));
    message.extend(b"'. Try ");
    message.extend(container.full_name.to_ascii_uppercase().bytes());
    message.extend(b" HELP.");
    message
}

/// `DEBUG` without `enable-debug-command`.
pub const DEBUG_NOT_ALLOWED: &str = "ERR DEBUG command not allowed. \
     If the enable-debug-command option is set to \"local\", you can run it from a local connection, \
     otherwise you need to set this option in the configuration file, and then restart the server.";

/// `CLIENT UNBLOCK ... ERROR`, to the client that was blocked.
pub const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// `CONFIG REWRITE`: there is no configuration file to rewrite.
pub const NO_CONFIG_FILE: &str = "ERR The server is running without a config file";

/// Too many arguments or too few.
pub fn wrong_arity(command: &CommandSpec) -> String {
    format!("ERR wrong number of arguments for '{}' command", command.full_name)
}

/// The arguments of a subcommand are too many, where the table knows no maximum.
pub fn wrong_subcommand(container: &str, name: &[u8]) -> Vec<u8> {
    let mut message = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
    message.extend(c_string(name, QUOTED));
    message.extend(b"'. Try ");
    message.extend(container.to_ascii_uppercase().bytes());
    message.extend(b" HELP.");
    message
}

/// What C's `%.*s` prints: up to the first NUL, and at most so many bytes.
pub(super) fn c_string(bytes: &[u8], most: usize) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    &bytes[..end.min(most)]
}
