//! The elements that IIS knows: their attributes with defaults, and what their collections hold.
//! Words without regard to case are written as they are here.

use std::borrow::Cow;

/// An element.
pub(super) struct Kind {
    /// From the object or the root on, with slashes.
    pub(super) path: &'static str,
    /// Attributes, with their defaults where they have one: `name`, `id=0`.
    attributes: &'static str,
    /// The elements of its collection and the attributes that tell them apart: `add:name`.
    items: &'static str,
}

const fn kind(path: &'static str, attributes: &'static str, items: &'static str) -> Kind {
    Kind { path, attributes, items }
}

#[rustfmt::skip]
const KINDS: &[Kind] = &[
    kind("site", "name id serverAutoStart=true", "application:path"),
    kind("site/bindings", "", "binding:protocol,bindingInformation"),
    kind("site/bindings/binding", "protocol bindingInformation sslFlags=0", ""),
    kind("site/limits", "maxBandwidth=4294967295 maxConnections=4294967295 connectionTimeout=00:02:00 maxUrlSegments=32", ""),
    kind("site/hsts", "enabled=false max-age=0 includeSubDomains=false preload=false redirectHttpToHttps=false", ""),
    kind("site/logFile", "logExtFileFlags customLogPluginClsid logFormat=W3C directory=%SystemDrive%\\inetpub\\logs\\LogFiles period=Daily truncateSize=20971520 localTimeRollover=false enabled=true logSiteId=true logTargetW3C=File flushByEntryCountW3CLog=0 maxLogLineLength=65536", ""),
    kind("site/logFile/customFields", "maxCustomFieldLength=4096", "add:logFieldName"),
    kind("site/logFile/customFields/add", "logFieldName sourceName sourceType", ""),
    kind("site/traceFailedRequestsLogging", "enabled=false directory=%SystemDrive%\\inetpub\\logs\\FailedReqLogFiles maxLogFiles=50 maxLogFileSizeKB=1024 customActionsEnabled=false", ""),
    kind("site/applicationDefaults", "path applicationPool enabledProtocols=http serviceAutoStartEnabled=false serviceAutoStartProvider preloadEnabled=false", ""),
    kind("site/virtualDirectoryDefaults", "path physicalPath userName password logonMethod=ClearText allowSubDirConfig=true", ""),
    kind("site/application", "path applicationPool enabledProtocols=http serviceAutoStartEnabled=false serviceAutoStartProvider preloadEnabled=false", "virtualDirectory:path"),
    kind("site/application/virtualDirectoryDefaults", "path physicalPath userName password logonMethod=ClearText allowSubDirConfig=true", ""),
    kind("site/application/virtualDirectory", "path physicalPath userName password logonMethod=ClearText allowSubDirConfig=true", ""),
    kind("apppool", "name queueLength=1000 autoStart=true enable32BitAppOnWin64=false managedRuntimeVersion managedRuntimeLoader=webengine4.dll enableConfigurationOverride=true managedPipelineMode=Integrated CLRConfigFile passAnonymousToken=true startMode=OnDemand", ""),
    kind("apppool/processModel", "identityType=ApplicationPoolIdentity userName password loadUserProfile=false setProfileEnvironment=true logonType=LogonBatch manualGroupMembership=false idleTimeout=00:20:00 idleTimeoutAction=Terminate maxProcesses=1 shutdownTimeLimit=00:01:30 startupTimeLimit=00:01:30 pingingEnabled=true pingInterval=00:00:30 pingResponseTime=00:01:30 logEventOnProcessModel", ""),
    kind("apppool/recycling", "disallowOverlappingRotation=false disallowRotationOnConfigChange=false logEventOnRecycle", ""),
    kind("apppool/recycling/periodicRestart", "memory=0 privateMemory=0 requests=0 time=1.05:00:00", ""),
    kind("apppool/recycling/periodicRestart/schedule", "", "add:value"),
    kind("apppool/recycling/periodicRestart/schedule/add", "value", ""),
    kind("apppool/failure", "loadBalancerCapabilities=HttpLevel orphanWorkerProcess=false orphanActionExe orphanActionParams rapidFailProtection=true rapidFailProtectionInterval=00:05:00 rapidFailProtectionMaxCrashes=5 autoShutdownExe autoShutdownParams", ""),
    kind("apppool/cpu", "limit=0 action=NoAction resetInterval=00:05:00 smpAffinitized=false smpProcessorAffinityMask=4294967295 smpProcessorAffinityMask2=4294967295 processorGroup=0 numaNodeAssignment numaNodeAffinityMode", ""),
    kind("apppool/environmentVariables", "", "add:name"),
    kind("apppool/environmentVariables/add", "name value", ""),
    kind("system.applicationHost/sites", "", "site:name"),
    kind("system.applicationHost/applicationPools", "", "add:name"),
    kind("system.applicationHost/log", "logInUTF8=true centralLogFileMode=Site", ""),
    kind("system.applicationHost/log/centralBinaryLogFile", "enabled=false directory period truncateSize localTimeRollover", ""),
    kind("system.applicationHost/log/centralW3CLogFile", "enabled=true directory period truncateSize localTimeRollover logExtFileFlags", ""),
    kind("system.applicationHost/configHistory", "enabled=true path maxHistories=10 period=00:02:00", ""),
    kind("system.applicationHost/webLimits", "connectionTimeout=00:02:00 headerWaitTimeout=00:00:00 minBytesPerSecond=240 maxGlobalBandwidth=4294967295 demandStartThreshold=2147483647 dynamicIdleThreshold=0 dynamicRegistrationThreshold=100", ""),
    kind("system.webServer/caching", "enabled=true enableKernelCache=true maxCacheSize=0 maxResponseSize=262144", ""),
    kind("system.webServer/defaultDocument", "enabled=true", ""),
    kind("system.webServer/defaultDocument/files", "", "add:value"),
    kind("system.webServer/defaultDocument/files/add", "value", ""),
    kind("system.webServer/directoryBrowse", "enabled=false showFlags", ""),
    kind("system.webServer/handlers", "accessPolicy=Read", "add:name"),
    kind("system.webServer/handlers/add", "name path verb type modules scriptProcessor resourceType requireAccess allowPathInfo preCondition responseBufferLimit", ""),
    kind("system.webServer/httpCompression", "directory minFileSizeForComp=2700", "scheme:name"),
    kind("system.webServer/httpErrors", "errorMode=DetailedLocalOnly existingResponse=Auto defaultPath defaultResponseMode=File detailedMoreInformationLink allowAbsolutePathsWhenDelegated=false", "error:statusCode,subStatusCode"),
    kind("system.webServer/httpErrors/error", "statusCode subStatusCode=-1 prefixLanguageFilePath path responseMode", ""),
    kind("system.webServer/httpLogging", "dontLog=false selectiveLogging=LogAll", ""),
    kind("system.webServer/httpProtocol", "allowKeepAlive=true", ""),
    kind("system.webServer/httpProtocol/customHeaders", "", "add:name"),
    kind("system.webServer/httpProtocol/customHeaders/add", "name value", ""),
    kind("system.webServer/httpProtocol/redirectHeaders", "", "add:name"),
    kind("system.webServer/httpProtocol/redirectHeaders/add", "name value", ""),
    kind("system.webServer/httpRedirect", "enabled=false destination exactDestination=false childOnly=false httpResponseStatus=Found", "add:wildcard"),
    kind("system.webServer/httpRedirect/add", "wildcard destination", ""),
    kind("system.webServer/modules", "runAllManagedModulesForAllRequests=false", "add:name"),
    kind("system.webServer/rewrite/rules", "", "rule:name"),
    kind("system.webServer/rewrite/globalRules", "", "rule:name"),
    kind("system.webServer/security/access", "sslFlags=None", ""),
    kind("system.webServer/security/authentication/anonymousAuthentication", "enabled=true userName=IUSR password logonMethod=ClearText", ""),
    kind("system.webServer/security/authentication/basicAuthentication", "enabled=false realm defaultLogonDomain logonMethod=ClearText", ""),
    kind("system.webServer/security/authentication/windowsAuthentication", "enabled=false authPersistNonNTLM authPersistSingleRequest useKernelMode=true", ""),
    kind("system.webServer/security/authorization", "bypassLoginPages=true", "add:users,roles,verbs"),
    kind("system.webServer/security/ipSecurity", "allowUnlisted=true denyAction=Forbidden enableReverseDns=false enableProxyMode=false", "add:ipAddress,subnetMask,domainName"),
    kind("system.webServer/security/ipSecurity/add", "ipAddress subnetMask domainName allowed", ""),
    kind("system.webServer/security/dynamicIpSecurity", "denyAction enableProxyMode enableLoggingOnlyMode", ""),
    kind("system.webServer/security/requestFiltering", "allowDoubleEscaping=false allowHighBitCharacters=true removeServerHeader=false unescapeQueryString=true", ""),
    kind("system.webServer/security/requestFiltering/requestLimits", "maxAllowedContentLength=30000000 maxUrl=4096 maxQueryString=2048", ""),
    kind("system.webServer/security/requestFiltering/requestLimits/headerLimits", "", "add:header"),
    kind("system.webServer/security/requestFiltering/fileExtensions", "allowUnlisted=true applyToWebDAV=true", "add:fileExtension"),
    kind("system.webServer/security/requestFiltering/hiddenSegments", "applyToWebDAV=true", "add:segment"),
    kind("system.webServer/security/requestFiltering/verbs", "allowUnlisted=true applyToWebDAV=true", "add:verb"),
    kind("system.webServer/security/requestFiltering/denyUrlSequences", "", "add:sequence"),
    kind("system.webServer/serverRuntime", "enabled=true appConcurrentRequestLimit=5000 alternateHostName uploadReadAheadSize=49152 enableNagling maxRequestEntityAllowed=4294967295 frequentHitThreshold=2 frequentHitTimePeriod=00:00:10", ""),
    kind("system.webServer/staticContent", "defaultDocFooter enableDocFooter=false isDocFooterFileName=false", "mimeMap:fileExtension"),
    kind("system.webServer/staticContent/mimeMap", "fileExtension mimeType", ""),
    kind("system.webServer/staticContent/clientCache", "cacheControlMode=NoControl cacheControlMaxAge=1.00:00:00 httpExpires cacheControlCustom setEtag=true", ""),
    kind("system.webServer/tracing/traceFailedRequests", "", "add:path"),
    kind("system.webServer/urlCompression", "doStaticCompression=true doDynamicCompression=true dynamicCompressionBeforeCache=false", ""),
    kind("system.webServer/validation", "validateIntegratedModeConfiguration=true", ""),
    kind("system.webServer/webSocket", "enabled=true receiveBufferLimit=4194304 pingInterval=00:00:00", ""),
];

/// Elements of sections that are objects too, or have what those have: what is known of one is known
/// of the other.
const OBJECTS: [(&str, &str); 6] = [
    ("system.applicationHost/applicationPools/add", "apppool"),
    ("system.applicationHost/applicationPools/applicationPoolDefaults", "apppool"),
    ("system.applicationHost/sites/applicationDefaults", "site/applicationDefaults"),
    ("system.applicationHost/sites/site", "site"),
    ("system.applicationHost/sites/siteDefaults", "site"),
    ("system.applicationHost/sites/virtualDirectoryDefaults", "site/virtualDirectoryDefaults"),
];

/// The path of an object, where that of a section leads to one.
fn of_object(path: &str) -> Cow<'_, str> {
    for (section, object) in OBJECTS {
        let rest = path.get(..section.len()).filter(|head| head.eq_ignore_ascii_case(section));
        let rest = rest.and_then(|_| path.get(section.len()..));
        if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Cow::Owned(format!("{object}{rest}"));
        }
    }
    Cow::Borrowed(path)
}

/// The element of a path.
pub(super) fn at(path: &str) -> Option<&'static Kind> {
    let path = of_object(path);
    KINDS.iter().find(|kind| kind.path.eq_ignore_ascii_case(&path))
}

/// An element and those in it that are no collection's: what a property's path leads to by names
/// alone.
pub(super) fn within(path: &str) -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(move |kind| {
        let mut above = kind.path;
        loop {
            if above == path {
                return true;
            }
            let Some((parent, name)) = above.rsplit_once('/') else { return false };
            if at(parent).and_then(Kind::items).is_some_and(|(item, _)| item == name) {
                return false;
            }
            above = parent;
        }
    })
}

/// Whether something is known of elements below a path.
pub(super) fn knows(path: &str) -> bool {
    at(path).is_some_and(|kind| !kind.attributes.is_empty() || !kind.items.is_empty())
}

/// The name of an element in another, as it is written.
pub(super) fn child(path: &str, name: &str) -> Option<&'static str> {
    // A name, and not the path of one further in.
    if name.contains('/') {
        return None;
    }
    let whole = format!("{path}/{name}");
    let of_section = OBJECTS.iter().find(|(section, _)| section.eq_ignore_ascii_case(&whole));
    if let Some((section, _)) = of_section {
        return section.get(path.len() + 1..);
    }
    let path = of_object(path);
    let whole = format!("{path}/{name}");
    let of = |kind: &Kind| {
        kind.path.get(..whole.len()).is_some_and(|head| {
            let ends = kind.path.len() == whole.len() || kind.path[whole.len()..].starts_with('/');
            ends && head.eq_ignore_ascii_case(&whole)
        })
    };
    let kind = KINDS.iter().find(|kind| of(kind))?;
    kind.path.get(path.len() + 1..whole.len())
}

/// The section of a name: the last part of its path, or all of it.
pub(super) fn section(name: &str) -> Option<&'static str> {
    let is_section = |kind: &&Kind| kind.path.starts_with("system.");
    let last = |kind: &&Kind| {
        kind.path.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(name))
    };
    let whole = KINDS.iter().filter(is_section).find(|kind| kind.path.eq_ignore_ascii_case(name));
    let found = whole.or_else(|| {
        KINDS.iter().filter(is_section).filter(last).min_by_key(|kind| kind.path.len())
    });
    found.map(|kind| kind.path)
}

impl Kind {
    /// Attributes, with their defaults.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
        self.attributes.split_whitespace().map(|word| match word.split_once('=') {
            Some((name, default)) => (name, Some(default)),
            None => (word, None),
        })
    }

    /// An attribute, as it is written, and its default.
    pub(super) fn attribute(&self, name: &str) -> Option<(&'static str, Option<&'static str>)> {
        self.attributes().find(|(own, _)| own.eq_ignore_ascii_case(name))
    }

    /// Whether an attribute can have a value, as far as its default tells what it is: a number,
    /// true or false, or a time.
    pub(super) fn takes(&self, attribute: &str, value: &str) -> bool {
        let Some((_, Some(default))) = self.attribute(attribute) else { return true };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|own| own.is_ascii_digit());
        match default {
            "true" | "false" => {
                value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
            }
            number if digits(number) => value.parse::<u32>().is_ok(),
            time if time.split(':').count() == 3 => {
                let days = |text: &str| text.split_once('.').is_none_or(|(days, _)| digits(days));
                let hours = value.rsplit('.').next().unwrap_or_default();
                days(value) && hours.split(':').count() == 3 && hours.split(':').all(digits)
            }
            _ => true,
        }
    }

    /// What its collection holds, and by which attributes elements are told apart.
    pub(super) fn items(&self) -> Option<(&'static str, Vec<&'static str>)> {
        let (name, keys) = self.items.split_once(':')?;
        Some((name, keys.split(',').collect()))
    }
}
