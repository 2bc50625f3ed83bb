//! Users and groups, by the programs every distribution has.

use model::AccountStep;

use crate::{shell::quote, values::Values};

/// Makes an account where it is missing, and remembers that it did.
pub(crate) fn create(step: &AccountStep, values: &Values) -> Result<String, String> {
    let number =
        |flag: &str, id: &Option<u32>| id.map_or(String::new(), |id| format!(" {flag} {id}"));
    let range = |system: bool| if system { " --system" } else { "" };
    Ok(match step {
        AccountStep::Group { name, system, id } => {
            let word = quote(name);
            let (range, number) = (range(*system), number("--gid", id));
            format!(
                "if ! getent group {word} >/dev/null; then\n  groupadd{range}{number} {word}\n  \
                 : > \"$state\"/group.{word}\nfi\n"
            )
        }
        AccountStep::User { name, system, id, group, home, shell, comment } => {
            let word = quote(name);
            let home = crate::shell::word(home, values)?;
            let shell = crate::shell::word(shell, values)?;
            let (range, number) = (range(*system), number("--uid", id));
            // A group of its own name may be there already.
            let own = format!(
                "$(getent group {word} >/dev/null && echo \"--gid {name}\" || echo --user-group)"
            );
            let group = group.as_ref().map_or(own, |group| format!("--gid {}", quote(group)));
            let comment = quote(comment);
            format!(
                "if ! getent passwd {word} >/dev/null; then\n  useradd{range}{number} {group} --no-create-home \
                 --home-dir {home} --shell {shell} --comment {comment} {word}\n  : > \"$state\"/user.{word}\nfi\n"
            )
        }
        AccountStep::Membership { user, group } => {
            let (user, group) = (quote(user), quote(group));
            format!("usermod --append --groups {group} {user}\n")
        }
    })
}

/// Takes away the accounts that [`create`] made, users first.
pub(crate) const REMOVE: &str = "for account in \"$state\"/user.* \"$state\"/group.*; do
  [ -e \"$account\" ] || continue
  who=${account##*/}
  case $who in
    user.*) ! getent passwd \"${who#user.}\" >/dev/null || userdel \"${who#user.}\" >/dev/null 2>&1 || say \"the user ${who#user.} stays\" ;;
    group.*) ! getent group \"${who#group.}\" >/dev/null || groupdel \"${who#group.}\" >/dev/null 2>&1 || say \"the group ${who#group.} stays\" ;;
  esac
  rm -f \"$account\"
done
";
