// The page of a measurement: its table sorts; the scatter needs no script.
sortable(byId("layer-table"));
document.documentElement.dataset.ready = "yes";
