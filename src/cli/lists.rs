//! The lists: `ps`, `images`, `history`, `network ls`, `volume ls`.

use std::collections::HashMap;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;

use super::filters::FilterFlags;
use super::table::{Format, Table, column};
use super::words::{age, ellipsis, short_id, size};
use crate::client::Docker;
use crate::client::models::{ContainerSummary, ImageSummary, PortSummary};
use crate::client::query_parameters::{
    ListContainersOptions, ListImagesOptions, ListNetworksOptions, ListVolumesOptions,
};

/// Which containers.
#[derive(Debug, Args)]
pub struct Ps {
    /// Stopped ones too
    #[arg(short, long)]
    all: bool,
    /// Only the last so many, running or not
    #[arg(short = 'n', long)]
    last: Option<i32>,
    /// Only the last one, running or not
    #[arg(short, long)]
    latest: bool,
    /// Show how much each one wrote
    #[arg(short, long)]
    size: bool,
    /// Do not cut anything
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    filters: FilterFlags,
    #[command(flatten)]
    format: Format,
}

/// Which images.
#[derive(Debug, Args)]
pub struct Images {
    /// Those without a name that others stand on too
    #[arg(short, long)]
    all: bool,
    /// Do not cut anything
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    filters: FilterFlags,
    #[command(flatten)]
    format: Format,
    /// Only this repository
    repository: Option<String>,
}

/// How to show a history.
#[derive(Debug, Args)]
pub struct History {
    /// Do not cut anything
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    format: Format,
    image: String,
}

/// How to list other things.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    filters: FilterFlags,
    #[command(flatten)]
    format: Format,
}

fn show(table: &Table, format: &Format, key: &str) -> anyhow::Result<ExitCode> {
    print!("{}", table.render(format, key).map_err(anyhow::Error::msg)?);
    Ok(ExitCode::SUCCESS)
}

pub async fn containers(docker: &Docker, ps: &Ps) -> anyhow::Result<ExitCode> {
    let limit = if ps.latest { Some(1) } else { ps.last };
    let options =
        ListContainersOptions { all: ps.all || limit.is_some(), limit, size: ps.size, filters: ps.filters.gathered() };
    let found = docker.list_containers(Some(options)).await?;
    let mut columns = vec![
        column("ID", "CONTAINER ID"),
        column("Image", "IMAGE"),
        column("Command", "COMMAND"),
        column("CreatedAt", "CREATED"),
        column("Status", "STATUS"),
        column("Ports", "PORTS"),
        column("Names", "NAMES"),
    ];
    if ps.size {
        columns.push(column("Size", "SIZE"));
    }
    // Not shown in the table, but known to templates and JSON.
    let more = [column("State", "STATE"), column("Labels", "LABELS"), column("Networks", "NETWORKS")];
    let is_plain = ps.format.format.as_deref().is_none_or(|format| format == "table");
    columns.extend(more.into_iter().filter(|_| !is_plain));
    let mut table = Table::new(&columns);
    let now = Timestamp::now();
    for container in &found {
        let mut row = container_row(container, now, ps.no_trunc);
        if ps.size {
            row.push(sizes(container));
        }
        if !is_plain {
            row.push(container.state.map(|state| state.to_string()).unwrap_or_default());
            row.push(pairs(container.labels.as_ref()));
            let networks = container.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
            row.push(sorted(networks.into_iter().flatten().map(|(name, _)| name.clone())).join(","));
        }
        table.row(row);
    }
    show(&table, &ps.format, "ID")
}

fn container_row(container: &ContainerSummary, now: Timestamp, is_whole: bool) -> Vec<String> {
    let id = container.id.as_deref().unwrap_or_default();
    let image = container.image.as_deref().unwrap_or_default();
    let command = container.command.as_deref().unwrap_or_default();
    // A name with a slash inside is the container as another one links it.
    let names =
        container.names.iter().flatten().map(|name| name.trim_start_matches('/')).filter(|name| !name.contains('/'));
    vec![
        if is_whole { id.to_owned() } else { short_id(id).to_owned() },
        if is_whole { image.to_owned() } else { plain_image(image).to_owned() },
        format!("{:?}", if is_whole { command.to_owned() } else { ellipsis(command, 20) }),
        age(now, container.created.unwrap_or_default()),
        container.status.clone().unwrap_or_default(),
        ports(container.ports.as_deref().unwrap_or_default()),
        names.collect::<Vec<_>>().join(","),
    ]
}

/// An image that is only an ID is shown short, as docker does.
fn plain_image(image: &str) -> &str {
    if image.starts_with("sha256:") { short_id(image) } else { image }
}

fn sizes(container: &ContainerSummary) -> String {
    let written = size(container.size_rw.unwrap_or_default(), 3);
    match container.size_root_fs {
        Some(whole) if whole > 0 => format!("{written} (virtual {})", size(whole, 3)),
        _ => written,
    }
}

fn sorted(items: impl Iterator<Item = String>) -> Vec<String> {
    let mut items: Vec<String> = items.collect();
    items.sort();
    items
}

fn pairs(labels: Option<&HashMap<String, String>>) -> String {
    sorted(labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}"))).join(",")
}

/// Published and exposed ports, like `0.0.0.0:8080->80/tcp, 443/tcp`.
fn ports(ports: &[PortSummary]) -> String {
    let mut ports: Vec<&PortSummary> = ports.iter().collect();
    ports.sort_by_key(|port| (port.private_port, port.public_port, port.ip.clone()));
    let text = |port: &&PortSummary| {
        let protocol = port.typ.map_or_else(|| "tcp".to_owned(), |kind| kind.to_string());
        match (port.public_port, port.ip.as_deref().unwrap_or("0.0.0.0")) {
            (None, _) => format!("{}/{protocol}", port.private_port),
            (Some(public), ip) if ip.contains(':') => format!("[{ip}]:{public}->{}/{protocol}", port.private_port),
            (Some(public), ip) => format!("{ip}:{public}->{}/{protocol}", port.private_port),
        }
    };
    ports.iter().map(text).collect::<Vec<_>>().join(", ")
}

pub async fn images(docker: &Docker, images: &Images) -> anyhow::Result<ExitCode> {
    let mut filters = images.filters.gathered().unwrap_or_default();
    if let Some(repository) = &images.repository {
        filters.entry("reference".to_owned()).or_default().push(repository.clone());
    }
    let filters = Some(filters).filter(|filters| !filters.is_empty());
    let options = ListImagesOptions { all: images.all, filters, ..ListImagesOptions::default() };
    let found = docker.list_images(Some(options)).await?;
    let mut table = Table::new(&[
        column("Repository", "REPOSITORY"),
        column("Tag", "TAG"),
        column("ID", "IMAGE ID"),
        column("CreatedSince", "CREATED"),
        column("Size", "SIZE"),
    ]);
    let now = Timestamp::now();
    let mut seen = std::collections::HashSet::new();
    for image in &found {
        for (repository, tag) in names(image) {
            // With IDs alone an image of several names is told once.
            if images.format.quiet && !seen.insert(&image.id) {
                continue;
            }
            let id = if images.no_trunc { image.id.clone() } else { short_id(&image.id).to_owned() };
            table.row(vec![repository, tag, id, age(now, image.created), size(image.size, 3)]);
        }
    }
    show(&table, &images.format, "ID")
}

fn names(image: &ImageSummary) -> Vec<(String, String)> {
    let none = || "<none>".to_owned();
    let tags: Vec<_> = image
        .repo_tags
        .iter()
        .filter(|name| *name != "<none>:<none>")
        .filter_map(|name| name.rsplit_once(':'))
        .map(|(repository, tag)| (repository.to_owned(), tag.to_owned()))
        .collect();
    if !tags.is_empty() {
        return tags;
    }
    let repository = image.repo_digests.first().and_then(|name| name.split_once('@')).map(|(name, _)| name.to_owned());
    vec![(repository.unwrap_or_else(none), none())]
}

pub async fn history(docker: &Docker, history: &History) -> anyhow::Result<ExitCode> {
    let found = docker.image_history(&history.image).await?;
    let mut table = Table::new(&[
        column("ID", "IMAGE"),
        column("CreatedSince", "CREATED"),
        column("CreatedBy", "CREATED BY"),
        column("Size", "SIZE"),
        column("Comment", "COMMENT"),
    ]);
    let now = Timestamp::now();
    for step in found {
        let by = step.created_by.replace('\t', " ");
        let (id, by) = match history.no_trunc {
            true => (step.id.clone(), by),
            false => (short_id(&step.id).to_owned(), ellipsis(&by, 45)),
        };
        table.row(vec![id, age(now, step.created), by, size(step.size, 3), step.comment]);
    }
    show(&table, &history.format, "ID")
}

pub async fn networks(docker: &Docker, list: &List) -> anyhow::Result<ExitCode> {
    let found = docker.list_networks(Some(ListNetworksOptions { filters: list.filters.gathered() })).await?;
    let mut table = Table::new(&[
        column("ID", "NETWORK ID"),
        column("Name", "NAME"),
        column("Driver", "DRIVER"),
        column("Scope", "SCOPE"),
    ]);
    let mut rows: Vec<Vec<String>> = found
        .into_iter()
        .map(|network| {
            let id = network.id.unwrap_or_default();
            let text = Option::unwrap_or_default;
            vec![short_id(&id).to_owned(), text(network.name), text(network.driver), text(network.scope)]
        })
        .collect();
    rows.sort_by(|a, b| a.get(1).cmp(&b.get(1)));
    rows.into_iter().for_each(|row| table.row(row));
    show(&table, &list.format, "ID")
}

pub async fn volumes(docker: &Docker, list: &List) -> anyhow::Result<ExitCode> {
    let found = docker.list_volumes(Some(ListVolumesOptions { filters: list.filters.gathered() })).await?;
    let mut table = Table::new(&[column("Driver", "DRIVER"), column("Name", "VOLUME NAME")]);
    let mut volumes = found.volumes.unwrap_or_default();
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    volumes.into_iter().for_each(|volume| table.row(vec![volume.driver, volume.name]));
    show(&table, &list.format, "Name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::models::PortSummaryTypeEnum;

    #[test]
    fn a_container_is_a_row_as_dockers() {
        let container = ContainerSummary {
            id: Some("0123456789abcdef".to_owned()),
            image: Some("nginx".to_owned()),
            command: Some("/docker-entrypoint.sh nginx".to_owned()),
            created: Some(0),
            status: Some("Up 2 minutes".to_owned()),
            names: Some(vec!["/web".to_owned(), "/other/link".to_owned()]),
            ports: Some(vec![PortSummary {
                ip: Some("0.0.0.0".to_owned()),
                private_port: 80,
                public_port: Some(8080),
                typ: Some(PortSummaryTypeEnum::TCP),
            }]),
            ..ContainerSummary::default()
        };
        let row = container_row(&container, Timestamp::from_second(600).unwrap(), false);
        let expected = [
            "0123456789ab",
            "nginx",
            "\"/docker-entrypoint.…\"",
            "10 minutes ago",
            "Up 2 minutes",
            "0.0.0.0:8080->80/tcp",
            "web",
        ];
        assert_eq!(row, expected);
    }
}
