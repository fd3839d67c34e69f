//! What is done for a member beside requests: idle connections are closed in time, and it is asked
//! whether it is well.

use std::{
    io,
    sync::{Arc, Weak},
};

use bindery_model::upstream::{HealthCheck, Upstream, UpstreamProtocol};
use http::{Request, StatusCode, header, uri::PathAndQuery};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use super::{
    absolute, connect::Purpose, headers::Fields as _, http2, interim::Interim, link::Link,
    member::Member, upload::Upload,
};
use crate::{limits::UPSTREAM_SWEEP_INTERVAL, text_of};

/// Looks after a member until nobody uses it any more.
pub(super) fn start(member: &Arc<Member>, upstream: &Upstream) {
    // Without a runtime nothing is served either.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(sweep(Arc::downgrade(member)));
    if let Some(check) = &upstream.health_check {
        runtime.spawn(ask(Arc::downgrade(member), check.clone(), upstream.protocol));
    }
}

async fn sweep(member: Weak<Member>) {
    let mut ticks = interval(UPSTREAM_SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match member.upgrade() {
            Some(member) => member.sweep(),
            None => return,
        }
    }
}

/// Asks a member again and again.
async fn ask(member: Weak<Member>, check: HealthCheck, protocol: UpstreamProtocol) {
    let mut ticks = interval(check.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(member) = member.upgrade() else { return };
        let answer = timeout(check.timeout, status(&member, &check, protocol)).await;
        let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let well = match &answer {
            Ok(status) => status.as_u16() < 400,
            Err(_) => false,
        };
        let needed = if well { check.rise } else { check.fall };
        if !member.health.asked(well, needed) {
            continue;
        }
        let answer = answer.map_or_else(|error| text_of(&error), |status| status.to_string());
        match well {
            true => info!(upstream = %member.name, %answer, "the server is well again"),
            false => warn!(upstream = %member.name, %answer, "the server is not well"),
        }
    }
}

/// The status of the answer to one question, on a connection of its own.
async fn status(
    member: &Member,
    check: &HealthCheck,
    protocol: UpstreamProtocol,
) -> io::Result<StatusCode> {
    let host = member.way.authority();
    let host = header::HeaderValue::from_str(host).map_err(io::Error::other)?;
    let target: PathAndQuery = check.path.parse().map_err(io::Error::other)?;
    let transport = member.way.open(check.timeout, Purpose::default()).await?;
    match protocol {
        UpstreamProtocol::Http1 => {
            let mut link = Link::new(transport, Purpose::default());
            let put = |lines: &mut Vec<u8>| {
                lines.extend_from_slice(b"GET ");
                lines.extend_from_slice(target.as_str().as_bytes());
                lines.extend_from_slice(b" HTTP/1.1\r\n");
                lines.value(&header::HOST, &host);
                lines.own(&header::CONNECTION, b"close");
            };
            link.begin(put, None);
            let patience = (Instant::now(), check.timeout);
            let answer = link.ask(false, None, &mut Interim::dropped(), patience).await;
            Ok(answer.map_err(io::Error::other)?.status)
        }
        UpstreamProtocol::Http2 => {
            let mut request = Request::new(Upload::new(None));
            *request.uri_mut() = absolute(&target, host.as_bytes(), member.way.is_https());
            *request.version_mut() = http::Version::HTTP_2;
            let mut sender = http2::handshake(transport).await.map_err(io::Error::other)?;
            let answer = sender.send_request(request).await;
            Ok(answer.map_err(io::Error::other)?.status())
        }
    }
}
