//! The page `docs/reference.md`: flags, variables, exit codes, files and the decision log, from the program.
//! `UPDATE_DOCS=1 cargo test --test program` writes it.

use std::fmt::Write as _;
use std::path::Path;

use csr_warden::cli::{command, schemas, schemas_of_files};
use serde_json::Value;

const PAGE: &str = "docs/reference.md";
const HEAD: &str = "\
# Reference

For administrators and authors of scripts who look up a flag, a variable, a field or a port. This page is generated from
the program by `UPDATE_DOCS=1 cargo test --test program`. Other references have pages of their own:

- [policy fields](policy.md), [finding codes](verdicts.md), [doctor's codes](doctor.md), [metrics](metrics.md)
- [rights with reasons](threat-model.md#rights), [values of the chart](../deploy/helm/csr-warden/README.md)
- [schemas of all JSON output](schemas/), and the list of everything that is stable,
  [stable-interface.txt](stable-interface.txt)

## Ports

| port | direction | purpose |
|--|--|--|
| 8080 | in | metrics and probes (`--bind-address`) |
| 443, 6443 | out | API servers, through the Service and directly |
| 10250 | out | certificates of kubelets, where two Nodes claim one address or the policy requires them |
| 53 | out | DNS, only if the policy asks it |

## Events

| reason | object | meaning |
|--|--|--|
| a [code](verdicts.md) that denies | the request and its Node | the request was denied; the message has all findings |
| a code that waits | the request and its Node | the request waits; the message says what would change that. At most 6 an hour for each Node |
| `PolicyRefused` | the policy in force | the new policy file cannot be used |

";

fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace('|', "\\|")
}

/// Writes the sections of a command and of those below it.
fn commands(command: &clap::Command, out: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(|text| one_line(&text.to_string()));
    write!(out, "### {name}\n\n{}.\n", about.unwrap_or_default()).unwrap();
    if let Some(after) = command.get_after_help() {
        write!(out, "\n{}\n", one_line(&after.to_string())).unwrap();
    }
    let shown = |arg: &&clap::Arg| !arg.is_hide_set() && arg.get_id() != "help";
    let mut rows = String::new();
    for arg in command.get_arguments().filter(shown) {
        let values = arg.get_value_names().unwrap_or_default();
        let takes_value = arg.get_action().takes_values();
        let value = match (takes_value, values.first()) {
            (true, Some(value)) => format!(" {value}"),
            (true, None) | (false, _) => String::new(),
        };
        let flag = match arg.get_long() {
            Some(long) => format!("--{long}{value}"),
            None => value.trim().to_owned(),
        };
        let short = arg.get_short().map(|short| format!("`-{short}`, "));
        let variable = arg.get_env().map(|name| format!("`{}`", name.display()));
        let defaults = arg.get_default_values();
        let default = match defaults.first().filter(|_| takes_value) {
            Some(default) => format!("`{}`", default.display()),
            None => String::new(),
        };
        let help = arg.get_long_help().or(arg.get_help());
        let help = one_line(&help.map(ToString::to_string).unwrap_or_default());
        writeln!(
            rows,
            "| {}`{flag}` | {} | {default} | {help} |",
            short.unwrap_or_default(),
            variable.unwrap_or_default(),
        )
        .unwrap();
    }
    if !rows.is_empty() {
        write!(
            out,
            "\n| flag | variable | default | meaning |\n|--|--|--|--|\n{rows}"
        )
        .unwrap();
    }
    out.push('\n');
    let below = command.get_subcommands();
    for command in below.filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        commands(command, out);
    }
}

/// Writes the fields below this schema, by their paths.
fn fields(root: &Value, schema: &Value, path: &str, out: &mut String) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap();
        return fields(root, target, path, out);
    }
    for (field, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            field.clone()
        } else {
            format!("{path}.{field}")
        };
        let description = one_line(below["description"].as_str().unwrap_or_default());
        let kind = match &below["type"] {
            Value::String(kind) => kind.clone(),
            Value::Array(kinds) => kinds
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(" or "),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
        };
        writeln!(out, "| `{path}` | {kind} | {description} |").unwrap();
        fields(root, below, &path, out);
    }
    if schema["items"].is_object() {
        fields(root, &schema["items"], &format!("{path}[]"), out);
    }
}

fn section(title: &str, name: &str, out: &mut String) {
    let of_files = schemas_of_files().map(|(name, _, schema)| (name, schema));
    let mut all = schemas().into_iter().chain(of_files);
    let (_, schema) = all.find(|(found, _)| *found == name).expect(name);
    let schema = schema.to_value();
    write!(
        out,
        "## {title}\n\n| field | type | meaning |\n|--|--|--|\n"
    )
    .unwrap();
    fields(&schema, &schema, "", out);
    out.push('\n');
}

#[test]
fn the_reference_is_up_to_date() {
    let mut out = HEAD.to_owned();
    section("Inventory", "inventory", &mut out);
    section("Decision log", "decision", &mut out);
    out.push_str("## Commands\n\n");
    let mut root = command();
    root.build();
    commands(&root, &mut out);
    let out = format!("{}\n", out.trim_end());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &out).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == out,
        "{PAGE} is stale: run `UPDATE_DOCS=1 cargo test --test program`"
    );
}

/// The ports of the page are those of the chart.
#[test]
fn the_ports_are_those_of_the_chart() {
    let values = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/helm/csr-warden/values.yaml");
    let values: Value = serde_saphyr::from_str(&std::fs::read_to_string(values).unwrap()).unwrap();
    assert_eq!(values["metrics"]["port"], 8080);
    let ports = values["networkPolicy"]["egressPorts"].as_array().unwrap();
    let ports: Vec<_> = ports.iter().map(|port| &port["port"]).collect();
    assert_eq!(ports, [443, 6443, 10250]);
}
