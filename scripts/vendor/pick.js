// What the console's fields use of Tom Select, as one global.
import TomSelect from 'tom-select/dist/esm/tom-select.js';
import clearButton from 'tom-select/dist/esm/plugins/clear_button/plugin.js';
import removeButton from 'tom-select/dist/esm/plugins/remove_button/plugin.js';

TomSelect.define('clear_button', clearButton);
TomSelect.define('remove_button', removeButton);
window.TomSelect = TomSelect;
