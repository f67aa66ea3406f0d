/* A link to set a password by: its token stands behind the #, which browsers send to nobody. It goes into the form and
   out of the address, so that neither the history nor a picture of the screen keeps it. */
(() => {
  'use strict';
  const form = document.querySelector('form[data-link]');
  const take = () => {
    const token = location.hash.slice(1);
    if (!form || !token) return;
    history.replaceState(null, '', location.pathname);
    form.elements.token.value = token;
    form.querySelector('[data-link-field]').hidden = true;
    if ('linkNow' in form.dataset) form.requestSubmit();
  };
  addEventListener('hashchange', take); // the link opened in a tab that shows this page already
  take();
})();
