# Completions of bindery. A word ends at a blank, not at each : and = as bash
# has it, since bindings and settings have those in them.
_bindery() {
    local line=${COMP_LINE:0:COMP_POINT} words=() piece rest place
    for ((place = 0; place <= COMP_CWORD; place++)); do
        piece=${COMP_WORDS[place]}
        rest=${line#"${line%%[![:space:]]*}"}
        if ((place == 0)) || [[ $line != "$rest" || -z $line && -z $piece ]]; then
            words+=("")
        fi
        # The cursor can stand in the midst of the last one.
        [[ $rest == "$piece"* ]] || piece=$rest
        words[-1]+=$piece
        line=${rest#"$piece"}
    done
    local last=$((${#words[@]} - 1)) quote=
    local typed=${words[last]}
    case $typed in
        \'* | \"*)
            quote=${typed:0:1}
            typed=${typed:1}
            words[last]=$typed
            ;;
        *)
            # As it would be run.
            typed=${typed//\\/}
            words[last]=$typed
            ;;
    esac
    local found IFS=$'\n'
    found=($(_CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$last \
        _CLAP_COMPLETE_COMP_TYPE=$COMP_TYPE _CLAP_COMPLETE_SPACE=false \
        COMPLETE=bash bindery -- "${words[@]}" 2>/dev/null)) || return
    # bash replaces what stands behind the last of its own ends of a word.
    local kept=
    [[ -n $quote ]] || kept=${typed%"${typed##*[:=]}"}
    COMPREPLY=()
    for piece in "${found[@]}"; do
        piece=${piece#"$kept"}
        [[ -n $quote ]] || printf -v piece %q "$piece"
        COMPREPLY+=("$piece")
    done
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} != *[=/:] ]]; then
        compopt +o nospace
    fi
}
complete -o nospace -o bashdefault -F _bindery bindery
