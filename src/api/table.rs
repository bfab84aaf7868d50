//! Every endpoint, a row each: the router and `docs/compatibility.md` read this table and nothing else.

use Takes::{Archive, Connection, Json};

use super::call::Call;
use super::endpoint::{Answer, Endpoint, Takes, delete, get, head, post, put, reply};
use super::handlers::{
    archives, builds, containers, events, execs, history, images, logs, networks, swarm, system, usage, volumes,
};
use super::version::ApiVersion;

const fn v(major: u16, minor: u16) -> ApiVersion {
    ApiVersion::new(major, minor)
}

const NO_REGISTRY_QUESTIONS: &str = "501; pull asks the registry itself";
const NO_SESSION: &str = "404, so that clients fall back to `POST /build`";

/// All endpoints. Literal paths stand before patterns that would take them for a name.
#[rustfmt::skip]
pub const ENDPOINTS: &[Endpoint] = &[
    head("/_ping",                          v(1, 24), Json, |call| reply(system::ping(call))),
    get("/_ping",                           v(1, 24), Json, |call| reply(system::ping(call))),
    get("/version",                         v(1, 24), Json, |call| reply(system::version(call))),
    get("/info",                            v(1, 24), Json, |call| reply(system::info(call))),
    post("/auth",                           v(1, 24), Json, |call| reply(system::auth(call)))
        .note("501; credentials go along with pull and push"),
    get("/events",                          v(1, 24), Json, |call| reply(events::events(call))),
    get("/system/df",                       v(1, 25), Json, |call| reply(usage::disk_usage(call)))
        .note("in the shapes before and after 1.52 at once"),

    get("/containers/json",                 v(1, 24), Json, |call| reply(containers::list(call))),
    post("/containers/create",              v(1, 24), Json, |call| reply(containers::create(call))),
    post("/containers/prune",               v(1, 25), Json, |call| reply(containers::prune(call))),
    get("/containers/{id}/json",            v(1, 24), Json, |call| reply(containers::inspect(call))),
    get("/containers/{id}/top",             v(1, 24), Json, |call| reply(containers::top(call)))
        .note("reads /proc itself, without ps"),
    get("/containers/{id}/logs",            v(1, 24), Json, |call| reply(logs::logs(call))),
    get("/containers/{id}/changes",         v(1, 24), Json, |call| reply(containers::changes(call))),
    get("/containers/{id}/export",          v(1, 24), Json, |call| reply(archives::export(call))),
    get("/containers/{id}/stats",           v(1, 24), Json, |call| reply(containers::stats(call))),
    post("/containers/{id}/resize",         v(1, 24), Json, |call| reply(containers::resize(call))),
    post("/containers/{id}/start",          v(1, 24), Json, |call| reply(containers::start(call))),
    post("/containers/{id}/stop",           v(1, 24), Json, |call| reply(containers::stop(call))),
    post("/containers/{id}/restart",        v(1, 24), Json, |call| reply(containers::restart(call))),
    post("/containers/{id}/kill",           v(1, 24), Json, |call| reply(containers::kill(call))),
    post("/containers/{id}/update",         v(1, 24), Json, |call| reply(containers::update(call))),
    post("/containers/{id}/rename",         v(1, 24), Json, |call| reply(containers::rename(call))),
    post("/containers/{id}/pause",          v(1, 24), Json, |call| reply(containers::pause(call))),
    post("/containers/{id}/unpause",        v(1, 24), Json, |call| reply(containers::unpause(call))),
    post("/containers/{id}/attach",         v(1, 24), Connection, |call| reply(containers::attach(call)))
        .note("a client that asks for no upgrade gets the output as a chunked body"),
    get("/containers/{id}/attach/ws",       v(1, 24), Connection, |call| reply(containers::attach_by_websocket(call)))
        .note("pages of another origin are refused"),
    post("/containers/{id}/wait",           v(1, 24), Json, |call| reply(containers::wait(call))),
    delete("/containers/{id}",              v(1, 24), Json, |call| reply(containers::remove(call))),
    head("/containers/{id}/archive",        v(1, 24), Json, |call| reply(archives::stat(call))),
    get("/containers/{id}/archive",         v(1, 24), Json, |call| reply(archives::get(call))),
    put("/containers/{id}/archive",         v(1, 24), Archive, |call| reply(archives::put(call))),
    post("/containers/{id}/exec",           v(1, 24), Json, |call| reply(execs::create(call))),
    post("/commit",                         v(1, 24), Json, |call| reply(containers::commit(call))),

    post("/exec/{id}/start",                v(1, 24), Connection, |call| reply(execs::start(call)))
        .note("a client that asks for no upgrade gets the output as a chunked body"),
    post("/exec/{id}/resize",               v(1, 24), Json, |call| reply(execs::resize(call))),
    get("/exec/{id}/json",                  v(1, 24), Json, |call| reply(execs::inspect(call))),

    get("/images/json",                     v(1, 24), Json, |call| reply(images::list(call))),
    get("/images/search",                   v(1, 24), Json, |call| reply(images::search(call))).note("501"),
    get("/images/get",                      v(1, 24), Json, |call| reply(images::save_all(call)))
        .note("one archive that is Docker's and OCI's form at once"),
    post("/images/create",                  v(1, 24), Archive, |call| reply(images::create(call)))
        .note("imports only from the request's body"),
    post("/images/load",                    v(1, 24), Archive, |call| reply(images::load(call))),
    post("/images/prune",                   v(1, 25), Json, |call| reply(images::prune(call))),
    get("/images/{name...}/json",           v(1, 24), Json, |call| reply(images::inspect(call))),
    get("/images/{name...}/history",        v(1, 24), Json, |call| reply(images::history(call))),
    get("/images/{name...}/get",            v(1, 24), Json, |call| reply(images::save(call)))
        .note("one archive that is Docker's and OCI's form at once"),
    post("/images/{name...}/push",          v(1, 24), Json, |call| reply(images::push(call))),
    post("/images/{name...}/tag",           v(1, 24), Json, |call| reply(images::tag(call))),
    delete("/images/{name...}",             v(1, 24), Json, |call| reply(images::remove(call))),
    get("/distribution/{name...}/json",     v(1, 30), Json, |call| reply(images::distribution(call)))
        .note(NO_REGISTRY_QUESTIONS),

    post("/build",                          v(1, 24), Archive, |call| reply(builds::build(call)))
        .note("version=2 sends BuildKit's trace records, without a session"),
    post("/build/prune",                    v(1, 31), Json, |call| reply(builds::prune(call))),
    post("/build/cancel",                   v(1, 39), Json, |call| reply(builds::cancel(call)))
        .note("501; close the build's connection to cancel it"),
    post("/session",                        v(1, 31), Connection, |call| reply(builds::session(call)))
        .note("Boxyard's own protocol (`Upgrade: boxyard-session`); for any other 404, so that clients fall back to `POST /build`"),
    post("/grpc",                           v(1, 39), Json, nobody).note(NO_SESSION),

    get("/networks",                        v(1, 24), Json, |call| reply(networks::list(call))),
    post("/networks/create",                v(1, 24), Json, |call| reply(networks::create(call))),
    post("/networks/prune",                 v(1, 25), Json, |call| reply(networks::prune(call))),
    get("/networks/{id}",                   v(1, 24), Json, |call| reply(networks::inspect(call))),
    post("/networks/{id}/connect",          v(1, 24), Json, |call| reply(networks::connect(call))),
    post("/networks/{id}/disconnect",       v(1, 24), Json, |call| reply(networks::disconnect(call))),
    delete("/networks/{id}",                v(1, 24), Json, |call| reply(networks::remove(call))),

    get("/volumes",                         v(1, 24), Json, |call| reply(volumes::list(call))),
    post("/volumes/create",                 v(1, 24), Json, |call| reply(volumes::create(call))),
    post("/volumes/prune",                  v(1, 25), Json, |call| reply(volumes::prune(call))),
    get("/volumes/{name}",                  v(1, 24), Json, |call| reply(volumes::inspect(call))),
    put("/volumes/{name}",                  v(1, 42), Json, not_a_manager).note("503; only cluster volumes can be changed"),
    delete("/volumes/{name}",               v(1, 24), Json, |call| reply(volumes::remove(call))),

    get("/plugins",                         v(1, 24), Json, |call| reply(swarm::no_plugins(call))).note("an empty list"),
    get("/plugins/privileges",              v(1, 25), Json, |call| reply(swarm::plugins_are_not_supported(call))).note("501"),
    post("/plugins/pull",                   v(1, 25), Json, |call| reply(swarm::plugins_are_not_supported(call))).note("501"),
    post("/plugins/create",                 v(1, 25), Archive, |call| reply(swarm::plugins_are_not_supported(call))).note("501"),
    get("/plugins/{name...}/json",          v(1, 25), Json, |call| reply(swarm::plugin_not_found(call))).note("404"),
    delete("/plugins/{name...}",            v(1, 25), Json, |call| reply(swarm::plugin_not_found(call))).note("404"),

    get("/swarm",                           v(1, 24), Json, not_a_manager),
    post("/swarm/init",                     v(1, 24), Json, |call| reply(swarm::no_swarm(call))).note("501"),
    post("/swarm/join",                     v(1, 24), Json, |call| reply(swarm::no_swarm(call))).note("501"),
    post("/swarm/leave",                    v(1, 24), Json, not_a_manager),
    post("/swarm/update",                   v(1, 24), Json, not_a_manager),
    get("/swarm/unlockkey",                 v(1, 24), Json, not_a_manager),
    post("/swarm/unlock",                   v(1, 24), Json, not_a_manager),
    get("/nodes",                           v(1, 24), Json, not_a_manager),
    get("/nodes/{id}",                      v(1, 24), Json, not_a_manager),
    delete("/nodes/{id}",                   v(1, 24), Json, not_a_manager),
    post("/nodes/{id}/update",              v(1, 24), Json, not_a_manager),
    get("/services",                        v(1, 24), Json, not_a_manager),
    post("/services/create",                v(1, 24), Json, not_a_manager),
    get("/services/{id}",                   v(1, 24), Json, not_a_manager),
    delete("/services/{id}",                v(1, 24), Json, not_a_manager),
    post("/services/{id}/update",           v(1, 24), Json, not_a_manager),
    get("/services/{id}/logs",              v(1, 29), Json, not_a_manager),
    get("/tasks",                           v(1, 24), Json, not_a_manager),
    get("/tasks/{id}",                      v(1, 24), Json, not_a_manager),
    get("/tasks/{id}/logs",                 v(1, 29), Json, not_a_manager),
    get("/secrets",                         v(1, 25), Json, not_a_manager),
    post("/secrets/create",                 v(1, 25), Json, not_a_manager),
    get("/secrets/{id}",                    v(1, 25), Json, not_a_manager),
    delete("/secrets/{id}",                 v(1, 25), Json, not_a_manager),
    post("/secrets/{id}/update",            v(1, 25), Json, not_a_manager),
    get("/configs",                         v(1, 30), Json, not_a_manager),
    post("/configs/create",                 v(1, 30), Json, not_a_manager),
    get("/configs/{id}",                    v(1, 30), Json, not_a_manager),
    delete("/configs/{id}",                 v(1, 30), Json, not_a_manager),
    post("/configs/{id}/update",            v(1, 30), Json, not_a_manager),

    get("/_boxyard",                        v(1, 24), Json, |call| reply(system::yard(call)))
        .note("Boxyard's own: which engine answers"),
    post("/boxyard/images/from-host",       v(1, 24), Json, |call| reply(system::image_from_host(call)))
        .note("Boxyard's own: makes an image of the host's programs"),
    get("/boxyard/builds",                  v(1, 24), Json, |call| reply(history::list(call)))
        .note("Boxyard's own: the builds that run and the last 100 that ran, steps and cache reasons included"),
    get("/boxyard/builds/{id}",             v(1, 24), Json, |call| reply(history::inspect(call)))
        .note("Boxyard's own: one of them"),
    get("/boxyard/builds/{id}/logs",        v(1, 24), Json, |call| reply(history::logs(call)))
        .note("Boxyard's own: what it said, its last megabyte as plain text"),
    delete("/boxyard/builds/{id}",          v(1, 24), Json, |call| reply(history::remove(call)))
        .note("Boxyard's own: forgets a build that has ended"),
];

fn not_a_manager(call: Call) -> Answer {
    reply(swarm::not_a_manager(call))
}

fn nobody(_call: Call) -> Answer {
    reply(async { Err::<(), _>(super::problem::page_not_found()) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::Method;

    use super::super::endpoint::find;
    use super::super::version::{NEWEST, OLDEST};
    use super::*;

    #[test]
    fn no_row_stands_twice() {
        let mut seen = BTreeSet::new();
        for row in ENDPOINTS {
            assert!(seen.insert((row.method.as_str(), row.path)), "{} {} stands twice", row.method, row.path);
        }
    }

    #[test]
    fn every_row_is_reached_by_its_own_path() {
        for row in ENDPOINTS {
            let path = row.path.replace("{name...}", "a/b:c").replace("{name}", "n").replace("{id}", "x");
            let (found, _) = find(ENDPOINTS, row.method, &path, NEWEST).unwrap();
            assert_eq!(found.path, row.path, "{} {path}", row.method);
        }
    }

    #[test]
    fn patterns_are_well_formed() {
        for row in ENDPOINTS {
            assert!(row.path.matches("...").count() <= 1, "{}: one long variable at most", row.path);
            assert!((OLDEST..=NEWEST).contains(&row.since), "{}: no client can ask for {}", row.path, row.since);
        }
    }

    #[test]
    fn an_older_client_has_no_younger_endpoint() {
        let found = |minor| find(ENDPOINTS, &Method::POST, "/containers/prune", v(1, minor)).is_some();
        assert!(!found(24));
        assert!(found(25));
    }
}
