//! Steps side by side: stages that need not wait for each other, builds that want the same, and how all of them end.
//!
//! That things run at once is shown by what each of them says while the others go on, never by the clock.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod build_yard;

use boxyard::engine::build::BuildRequest;
use build_yard::{Outcome, Yard};

/// Makes a step behave as told without a difference to its key: proxy settings are in none.
fn told(word: &str) -> impl FnOnce(&mut BuildRequest) + use<'_> {
    move |request| drop(request.build_args.insert("HTTP_PROXY".into(), Some(word.into())))
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_that_need_nothing_of_each_other_run_at_once() {
    let yard = Yard::new().await;
    let stages: String = (0..4).map(|n| format!("FROM base AS s{n}\nRUN echo up-{n}; sleep 1000\n")).collect();
    let copies: String = (0..4).map(|n| format!("COPY --from=s{n} /etc /s{n}\n")).collect();
    let text = format!("{stages}FROM scratch\n{copies}");
    let mut build = yard.begin(&[("Dockerfile", &text)], |_| {});
    build.until(|outcome| (0..4).all(|n| outcome.log.contains(&format!("up-{n}")))).await;
    drop(build);
    yard.comes_to_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_stage_ends_the_others() {
    let yard = Yard::new().await;
    let text = "FROM base AS long\nRUN echo up; sleep 1000\nFROM base AS wrong\nRUN exit 3\n\
        FROM scratch\nCOPY --from=long / /\nCOPY --from=wrong / /\n";
    assert_eq!(yard.build(&[("Dockerfile", text)]).await.failed().code, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_builds_do_an_equal_step_once() {
    let yard = Yard::new().await;
    let files = [("Dockerfile", "FROM base\nRUN echo up; sleep 1; cat /proc/sys/kernel/random/uuid >/id\n")];
    let mut first = yard.begin(&files, |_| {});
    first.until(|outcome| outcome.log.contains("up")).await;
    let second = yard.begin(&files, |_| {});
    let (first, second) = tokio::join!(first.ended(), second.ended());
    let (first, second) = (first.succeeded(), second.succeeded());
    assert_eq!(second.id, first.id);
    assert_eq!((second.log.as_str(), second.done().len()), ("", 0), "{}", second.text);
    let took = |outcome: &Outcome| {
        let step = outcome.vertexes.values().find(|it| it.name.contains("echo up")).unwrap();
        step.completed.unwrap().duration_since(step.started.unwrap())
    };
    assert!(took(&second) < took(&first), "the time of the other build's step is not this one's");
    yard.comes_to_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stages_do_an_equal_step_once() {
    let yard = Yard::new().await;
    let text = "FROM base AS a\nRUN echo did it; echo 1 >/x\nFROM base AS b\nRUN echo did it; echo 1 >/x\n\
        FROM scratch\nCOPY --from=a /x /a\nCOPY --from=b /x /b\n";
    let outcome = yard.build(&[("Dockerfile", text)]).await.succeeded();
    assert_eq!(outcome.log.matches("did it").count(), 1, "{}", outcome.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_equal_step_takes_over_when_it_is_cancelled() {
    let yard = Yard::new().await;
    let files = [("Dockerfile", "FROM base\nRUN echo up; sleep $HTTP_PROXY; echo done >/x\nRUN cat /x\n")];
    let mut first = yard.begin(&files, told("1000"));
    first.until(|outcome| outcome.log.contains("up")).await;
    let mut second = yard.begin(&files, told("0"));
    second
        .until(|outcome| outcome.vertexes.values().any(|it| it.name.contains("echo up") && it.started.is_some()))
        .await;
    drop(first);
    let second = second.ended().await.succeeded();
    assert_eq!(second.log, "up\ndone\n");
    yard.comes_to_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_equal_step_tries_it_where_it_failed() {
    let yard = Yard::new().await;
    let files = [("Dockerfile", "FROM base\nRUN echo up; sleep 0.2; exit $HTTP_PROXY\n")];
    let mut first = yard.begin(&files, told("3"));
    first.until(|outcome| outcome.log.contains("up")).await;
    let second = yard.begin(&files, told("0"));
    let (first, second) = tokio::join!(first.ended(), second.ended());
    assert_eq!(first.failed().code, Some(3));
    assert_eq!(second.succeeded().log, "up\n");
    yard.comes_to_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_waits_for_a_stage_has_not_begun() {
    let yard = Yard::new().await;
    let text = "FROM base AS slow\nRUN sleep 0.2; echo 1 >/x\nFROM slow AS above\nRUN cat /x >/y\n\
        FROM base\nCOPY --from=slow /x /\nRUN --mount=from=above,target=/above cat /above/y\n";
    let outcome = yard.build(&[("Dockerfile", text)]).await.succeeded();
    let step = |part: &str| outcome.vertexes.values().find(|it| it.name.contains(part)).unwrap();
    for (waits, for_it) in [("FROM slow", "sleep"), ("COPY --from=slow", "sleep"), ("from=above", "cat /x >")] {
        assert!(step(waits).started >= step(for_it).completed, "{waits}: {:?}", outcome.vertexes);
    }
}
