//! What is typed behind appcmd: whatever it is, what it leaves can be read.
#![no_main]

use bindery_iis::{
    appcmd::{World, grammar, run},
    xml,
};
use libfuzzer_sys::fuzz_target;

const TEXT: &str = "<configuration><system.applicationHost><sites>
    <site name='a' id='1'><application path='/'><virtualDirectory path='/' physicalPath='x' />
    </application><bindings><binding protocol='http' bindingInformation='*:80:' /></bindings></site>
</sites></system.applicationHost></configuration>";

fuzz_target!(|line: &str| {
    let words: Vec<String> = line.split('\n').map(str::to_owned).collect();
    // Not every word is a command, and none of them ends the program.
    drop(grammar::parse(&words));
    let world = World { text: TEXT, backups: &[], backup_name: "b", requests: &[] };
    let answer = run(&words, Some(line), &world);
    if let Some(text) = answer.text {
        assert!(xml::parse(&text).is_ok());
    }
});
