//! A configuration as IIS leaves it behind, and what differs between two.

use std::collections::VecDeque;

/// Two sites, a pool, sections and locations.
pub(crate) const SAMPLE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<configuration>
    <configSections>
        <sectionGroup name="system.webServer">
            <section name="defaultDocument" overrideModeDefault="Allow" />
            <section name="handlers" overrideModeDefault="Deny" />
            <section name="ownModule" overrideModeDefault="Allow" />
        </sectionGroup>
    </configSections>
    <system.applicationHost>
        <applicationPools>
            <add name="DefaultAppPool" managedRuntimeVersion="v4.0" />
            <!-- kept -->
            <add name="P" autoStart="false">
                <processModel userName="svc" password="not shown" />
            </add>
        </applicationPools>
        <sites>
            <site name="Default Web Site" id="1">
                <application path="/">
                    <virtualDirectory path="/" physicalPath="C:\inetpub\wwwroot" />
                </application>
                <bindings>
                    <binding protocol="http" bindingInformation="*:80:" />
                </bindings>
            </site>
            <site name="X" id="3">
                <application path="/" applicationPool="P">
                    <virtualDirectory path="/" physicalPath="D:\x" />
                </application>
                <application path="/app1">
                    <virtualDirectory path="/" physicalPath="D:\app1" />
                </application>
                <bindings>
                    <binding protocol="http" bindingInformation="*:80:x.com" />
                    <binding protocol="https" bindingInformation="*:443:x.com" />
                </bindings>
            </site>
            <applicationDefaults applicationPool="DefaultAppPool" />
        </sites>
    </system.applicationHost>
    <system.webServer>
        <defaultDocument enabled="true">
            <files>
                <add value="Default.htm" />
                <add value="index.html" />
            </files>
        </defaultDocument>
        <httpErrors lockAttributes="defaultPath">
            <error statusCode="404" path="404.htm" />
            <error statusCode="500" path="500.htm" />
        </httpErrors>
        <httpProtocol>
            <customHeaders>
                <add name="X-Server" value="one" />
            </customHeaders>
        </httpProtocol>
        <security>
            <access sslFlags="None" />
        </security>
    </system.webServer>
    <location path="X">
        <system.webServer>
            <directoryBrowse enabled="true" />
        </system.webServer>
    </location>
    <location path="X/app1">
        <system.webServer>
            <httpErrors>
                <remove statusCode="404" subStatusCode="-1" />
                <error statusCode="404" path="/404.html" />
            </httpErrors>
        </system.webServer>
    </location>
</configuration>
"#;

/// The lines that one text has and the other has not, in order: `-` before, `+` after.
pub(crate) fn difference(before: &str, after: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    // How many lines the rests of both have in common, for every two rests.
    let mut common = VecDeque::from([vec![0_usize; new.len() + 1]]);
    for line in old.iter().rev() {
        let mut row = vec![0];
        for (at, other) in new.iter().enumerate().rev() {
            let below = |at: usize| common.front().and_then(|row| row.get(at)).copied();
            row.push(match line == other {
                true => below(at + 1).unwrap_or_default() + 1,
                false => below(at).max(row.last().copied()).unwrap_or_default(),
            });
        }
        row.reverse();
        common.push_front(row);
    }
    let length = |at: usize, to: usize| common.get(at).and_then(|row| row.get(to)).copied();
    let (mut at, mut to, mut lines) = (0, 0, Vec::new());
    loop {
        match (old.get(at), new.get(to)) {
            (None, None) => return lines.join("\n"),
            (Some(line), Some(other)) if line == other => (at, to) = (at + 1, to + 1),
            (Some(line), other) if other.is_none() || length(at + 1, to) >= length(at, to + 1) => {
                lines.push(format!("-{}", line.trim_start()));
                at += 1;
            }
            (_, Some(other)) => {
                lines.push(format!("+{}", other.trim_start()));
                to += 1;
            }
            (Some(_), None) => at += 1,
        }
    }
}
