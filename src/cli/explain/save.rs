//! Support for `explain --save`: writes all evidence of a verdict, so that `check` can repeat it.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cli::live::{Known, Look, Lookout};
use crate::telemetry::printable::{printable, shell_word};
use judge::policy::SHIPPED;

/// Returns an error if the folder is not empty. A folder that does not exist is accepted.
pub(super) fn check_folder(dir: &Path) -> Result<()> {
    let Ok(mut entries) = std::fs::read_dir(dir) else {
        return Ok(());
    };
    if entries.next().is_some() {
        bail!(
            "--save {}: expected an empty or new folder, found files in it",
            dir.display()
        );
    }
    Ok(())
}

/// Writes the request and all evidence. Returns the command that repeats the verdict, in two parts:
/// the files, and the flags.
pub(super) fn save(
    dir: &Path,
    look: &Look,
    lookout: &Lookout,
    known: &Known,
    object: &Value,
    as_new: bool,
) -> Result<[String; 2]> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    let cluster = json!({"apiVersion": "v1", "kind": "List", "items": look.objects});
    write("csr.yaml", &yaml(object)?)?;
    write("cluster.yaml", &yaml(&cluster)?)?;
    write("facts.yaml", &look.snapshot(&known.taken).write()?)?;
    write("policy.yaml", policy(lookout)?)?;
    let mut files = vec!["facts.yaml", "cluster.yaml", "csr.yaml"];
    if let Some(inventory) = &lookout.inventory {
        write("inventory.yaml", &inventory.file.text)?;
        files.push("inventory.yaml");
    }
    let files = files.join(" ");
    let mut flags = format!("--policy policy.yaml --now {}", look.now);
    if as_new {
        flags.push_str(" --as-new");
    }
    let command = [format!("csr-warden check {files}"), flags];
    write("README.md", &readme(known, look, &command.join(" ")))?;
    Ok(command)
}

/// Message with the folder and the shell command. Its lines are short, so that they can be copied.
pub(super) fn told(dir: &Path, command: &[String; 2]) -> String {
    let dir = dir.display().to_string();
    let [check, flags] = command;
    format!(
        "saved in {dir}; to repeat it:\n\n  cd {}\n  {check} \\\n    {flags}\n",
        quoted(&dir)
    )
}

/// Quotes a path for a shell as one word, and not as a flag.
fn quoted(path: &str) -> String {
    if path.starts_with('-') {
        return shell_word(&format!("./{path}")).into_owned();
    }
    shell_word(path).into_owned()
}

fn yaml(object: &Value) -> Result<String> {
    serde_saphyr::to_string(object).context("cannot write YAML")
}

fn policy(lookout: &Lookout) -> Result<&str> {
    if let Some(file) = &lookout.policy_file {
        return Ok(&file.text);
    }
    let name = &lookout.policy.metadata.name;
    let shipped = SHIPPED.iter().find(|(shipped, _)| shipped == name);
    let (_, text) = shipped.with_context(|| format!("there is no policy `{name}`"))?;
    Ok(text)
}

fn readme(known: &Known, look: &Look, command: &str) -> String {
    let object = &known.taken.object;
    let also = if object.settled.is_some() && !command.contains("--as-new") {
        "\nWith `--as-new` it is judged as if it were undecided.\n"
    } else {
        ""
    };
    format!(
        "# Request {}\n\nThe evidence of its verdict at {}. In this folder, this command repeats the verdict:\n\n\
         ```sh\n{command}\n```\n{also}\n\
         - `csr.yaml`: the request\n\
         - `cluster.yaml`: Nodes, and the objects that define what is protected\n\
         - `facts.yaml`: facts that no object contains: states of sources, names in certificates of API \
         servers, answers, keys in use\n\
         - `policy.yaml`, and `inventory.yaml` if there is one\n\n\
         The folder contains names and addresses of the cluster, and no private key.\n",
        printable(&object.name),
        look.now
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_can_be_pasted() {
        let command = ["csr-warden check a b".to_owned(), "--now x".to_owned()];
        assert_eq!(
            told(Path::new("a b's"), &command),
            "saved in a b's; to repeat it:\n\n  cd 'a b'\\''s'\n  csr-warden check a b \\\n    --now x\n"
        );
        assert_eq!(quoted("x/csr-1"), "x/csr-1");
        assert_eq!(quoted("-x"), "./-x");
    }
}
